"""The words of the page, in English and in Russian."""

from typing import Literal

Language = Literal["en", "ru"]

_TEXTS: dict[str, tuple[str, str]] = {
    "title": ("Migration report", "Отчёт о переносе данных"),
    "lead": (
        "From Supabase to PostgreSQL: what was moved, how it was compared, and what is not known.",
        "Из Supabase в PostgreSQL: что перенесено, как это сверено и что остаётся неизвестным.",
    ),
    "not_signed": (
        "A report, not a certificate: it is not signed.",
        "Это отчёт, а не свидетельство: он не подписан.",
    ),
    "source": ("Source", "Источник"),
    "target": ("Target", "Приёмник"),
    "made_at": ("Made", "Составлен"),
    "read": ("Rows read for it", "Прочитано для него"),
    "read_both sides": ("all of both sides", "все строки обеих сторон"),
    "read_the target": ("all of the target; none of the source", "все строки приёмника; источник не читался"),
    "read_nothing": ("none; hashes are those of an earlier report", "ничего; хеши взяты из прежнего отчёта"),
    "versions": ("Versions", "Версии"),
    "schema": ("schema", "схема"),
    "unknown": ("not known", "неизвестно"),
    "summary": ("In short", "Коротко"),
    "tables_count": ("tables", "таблиц"),
    "rows_count": ("rows in the target", "строк в приёмнике"),
    "equal_count": ("tables with equal hashes", "таблиц с равными хешами"),
    "quarantined_count": ("rows in quarantine", "строк в карантине"),
    "nothing_open": (
        "Nothing stands open of what was looked at. What no check can find is at the end.",
        "Из проверенного открытых вопросов нет. Чего не находит ни одна проверка, сказано в конце.",
    ),
    "open": ("Standing open:", "Остаётся открытым:"),
    "point_unfinished": ("runs that did not end: {count}", "незавершённых запусков: {count}"),
    "point_never_verified": (
        "tables that no verify has compared in full: {count}",
        "таблиц, ни разу не сверенных полностью: {count}",
    ),
    "point_differences": (
        "rows that differed at the last verify of their tables: {count}",
        "строк, различавшихся при последней сверке своих таблиц: {count}",
    ),
    "point_hashes_differ": (
        "tables whose hashes differ between the sides: {count}",
        "таблиц, хеши которых на двух сторонах различны: {count}",
    ),
    "point_not_hashed": (
        "tables whose two sides were not hashed together: {count}",
        "таблиц, две стороны которых не хешировались вместе: {count}",
    ),
    "point_counted_otherwise": (
        "sides whose own count is not the number of rows that were hashed: {count}",
        "сторон, где подсчёт строк не равен числу хешированных: {count}",
    ),
    "point_quarantined": ("rows in quarantine: {count}", "строк в карантине: {count}"),
    "point_foreign_keys": (
        "foreign keys that are not back, or not proved: {count}",
        "внешних ключей, не возвращённых или не доказанных: {count}",
    ),
    "point_calls_differ": (
        "compared answers that differed: {count}",
        "сравнённых ответов, оказавшихся разными: {count}",
    ),
    "point_no_inventory": (
        "no inventory was taken of what a project holds beside its rows",
        "опись того, что в проекте есть кроме строк, не делалась",
    ),
    "point_inventory_open": ("open items of the inventory: {count}", "открытых пунктов описи: {count}"),
    "point_not_moved": (
        "tables that cannot be moved from this source: {count}",
        "таблиц, которые нельзя перенести из этого источника: {count}",
    ),
    "at_work": ("At work on the target as this was made:", "Во время составления с приёмником работал:"),
    "paused_by": ("Paused by {by} since", "Приостановлено ({by}) с"),
    "max_rate": ("The most that {command} reads of the source:", "Предел чтения источника для {command}:"),
    "slowdown": (
        "{command} asks less often: the source takes {times} times as long as at first.",
        "{command} спрашивает реже: источник отвечает в {times} раза дольше, чем вначале.",
    ),
    "tables": ("Tables", "Таблицы"),
    "tables_note": (
        "Differences are those of the last verify that compared all rows. A hash is over all rows as text. Its first "
        "16 digits are shown; the data in this page have all of it, by bucket.",
        "Различия — по последней сверке, сравнившей все строки. Хеш берётся от всех строк в виде текста; здесь его "
        "первые 16 цифр, целиком и по корзинам он в данных этой страницы.",
    ),
    "table": ("Table", "Таблица"),
    "rows": ("Rows", "Строк"),
    "rows_source": ("Rows, source", "Строк, источник"),
    "rows_target": ("Rows, target", "Строк, приёмник"),
    "size": ("Size", "Размер"),
    "differences": ("Differences", "Различий"),
    "verified_at": ("Verified", "Сверена"),
    "hash_source": ("Hash, source", "Хеш, источник"),
    "hash_target": ("Hash, target", "Хеш, приёмник"),
    "sides": ("Sides", "Стороны"),
    "equal": ("equal", "равны"),
    "differ": ("differ", "различны"),
    "not_compared": ("not compared", "не сравнены"),
    "never": ("never", "ни разу"),
    "none": ("none", "нет"),
    "as_of": ("as of", "на"),
    "counted": ("counted: {count}", "подсчёт: {count}"),
    "columns_left_out": ("Not in the hashes of {table}:", "Не входит в хеши {table}:"),
    "not_moved": ("Not moved: {table}:", "Не переносится: {table}:"),
    "steps": ("Steps", "Шаги"),
    "no_steps": ("No step has run.", "Ни один шаг не выполнялся."),
    "no_verify": ("No verify has run.", "Сверка не выполнялась."),
    "step": ("Step", "Шаг"),
    "state": ("State", "Состояние"),
    "begun": ("Begun", "Начат"),
    "took": ("Took", "Занял"),
    "state_running": ("running", "идёт"),
    "state_stopped": ("stopped", "остановлен"),
    "state_complete": ("complete", "завершён"),
    "state_abandoned": ("given up for a later one", "оставлен ради более позднего"),
    "state_holding": ("under way", "идёт"),
    "state_done": ("done", "сделан"),
    "state_given up": ("given up", "отменён"),
    "tables_of": ("{count} tables", "таблиц: {count}"),
    "foreign_keys": (
        "Foreign keys that are not back as they were, or not proved yet:",
        "Внешние ключи, ещё не возвращённые или не доказанные:",
    ),
    "stream": ("Change stream {name}: {changes} changes", "Поток изменений {name}: изменений {changes}"),
    "stream_seen": (
        "The sync last looked at it {age} before this page. The source kept {held} of its log; {behind} to come.",
        "Синхронизация смотрела на него за {age} до этой страницы: источник хранил для него {held} журнала, "
        "впереди {behind}.",
    ),
    "stream_back": (
        "Stream back to the source {name}: {changes} changes",
        "Поток обратно в источник {name}: изменений {changes}",
    ),
    "stream_back_seen": (
        "The sync last looked at it {age} before this page. The target kept {held} of its log; {behind} to come.",
        "Синхронизация смотрела на него за {age} до этой страницы: приёмник хранил для него {held} журнала, "
        "впереди {behind}.",
    ),
    "stream_lag": ("Lag of the last batch:", "Отставание последней порции:"),
    "stream_waits": (
        "A sync by the rows' versions is to come first: changes may be missing.",
        "Сначала нужна синхронизация по версиям строк: часть изменений может отсутствовать.",
    ),
    "quarantine": ("Quarantine", "Карантин"),
    "quarantine_note": (
        "Rows that the target refused. Keys are masked; the number finds the row with `botdata quarantine show`.",
        "Строки, которые приёмник не принял. Ключи скрыты; по номеру строку показывает `botdata quarantine show`.",
    ),
    "no_quarantine": ("No row is in quarantine.", "В карантине строк нет."),
    "reason": ("Reason", "Причина"),
    "place": ("Constraint or column", "Ограничение или столбец"),
    "first": ("First of them", "Первые из них"),
    "stages": ("Stages", "Этапы"),
    "stage_is": ("The cutover stands at", "Переключение стоит на этапе"),
    "since": ("since", "с"),
    "never_moved": (
        "No command has moved it. Where an environment fixes a stage, that holds.",
        "Ни одна команда его не двигала. Где этап задан окружением, действует он.",
    ),
    "reads": (
        "Standbys have answered {by_standbys} of {all} reads of the processes that report themselves.",
        "Резервные серверы ответили на {by_standbys} из {all} чтений у процессов, которые сообщают о себе.",
    ),
    "standby_behind": ("{standby}: {state}, {bytes} bytes behind.", "{standby}: {state}, отстаёт на {bytes} байт."),
    "way_back_ended": ("The way back was ended", "Обратный путь закрыт"),
    "move": ("Move", "Переход"),
    "when": ("When", "Когда"),
    "who": ("Who", "Кто"),
    "forced": ("Forced, because:", "Вопреки условиям, потому что:"),
    "because": ("Because:", "Потому что:"),
    "said": ("What stood against it:", "Что было против:"),
    "ended_since": ("Why it was given up:", "Почему отменён:"),
    "comparisons": ("Compared reads", "Сравнённые чтения"),
    "comparisons_note": (
        "The bot asked both stores the same and compared the answers. Counts are kept for three days, differences for "
        "thirty.",
        "Бот задавал обоим хранилищам одно и то же и сравнивал ответы. Подсчёты хранятся три дня, различия — тридцать.",
    ),
    "no_comparisons": ("No reads were compared.", "Чтения не сравнивались."),
    "method": ("Method", "Метод"),
    "timeline": ("The server is on timeline {number}.", "Линия времени сервера: {number}."),
    "stage": ("Stage", "Этап"),
    "calls": ("Calls", "Вызовов"),
    "compared": ("Compared", "Сравнено"),
    "different": ("Different", "Различны"),
    "errors": ("Errors", "Ошибок"),
    "median": ("median", "медиана"),
    "noise": ("against itself", "с самим собой"),
    "plots": ("How long the stores took", "Сколько времени отвечали хранилища"),
    "plot_note": (
        "Share of the calls by how long they took: Supabase upwards, PostgreSQL downwards.",
        "Доля вызовов по длительности: Supabase вверх, PostgreSQL вниз.",
    ),
    "plot_alt": (
        "{method} at {stage}: median {supabase} for Supabase, {postgres} for PostgreSQL",
        "{method} на этапе {stage}: медиана {supabase} у Supabase, {postgres} у PostgreSQL",
    ),
    "causes": ("What differed", "Что различалось"),
    "cause": ("Fields and types", "Поля и типы"),
    "times": ("Times", "Раз"),
    "last_at": ("Last", "Последний раз"),
    "no_causes": ("No difference was confirmed.", "Подтверждённых различий нет."),
    "accepted": ("Known differences", "Известные различия"),
    "accepted_note": (
        "The owner knows of them. Up to the day that is named, no gate counts them.",
        "Владелец о них знает. До названного дня ни одно условие их не считает.",
    ),
    "until": ("Until", "До"),
    "ended": ("over: they count again", "срок вышел: снова считаются"),
    "inventory": ("Beside the rows", "Кроме строк"),
    "no_inventory": (
        "No inventory was taken, so nothing is known of functions, policies, files and the rest.",
        "Опись не делалась, поэтому о функциях, политиках, файлах и прочем ничего не известно.",
    ),
    "inventory_taken": (
        "The inventory has {items} items; of these stand open: {open}.",
        "В описи пунктов: {items}; из них открыто: {open}.",
    ),
    "inventory_when": ("Taken", "Сделана"),
    "limits": ("What no check can find", "Чего не находит ни одна проверка"),
    "limits_note": (
        "This part is the same in each report.",
        "Эта часть одинакова во всех отчётах и дана по-английски, как в документации.",
    ),
    "what": ("What", "Что"),
    "who_cannot": ("Who cannot find it", "Кто этого не находит"),
    "remedy": ("What to do", "Что делать"),
    "method_of_hashes": ("How the hashes are made", "Как получены хеши"),
    "hashes_how": (
        "Each row is a text of its columns in the order of their names, which tells NULL from an empty text. "
        "HMAC-SHA-256 of the key's text puts the row into one of {buckets} buckets. A bucket has a count of rows and "
        "the sum of HMAC-SHA-256 of its rows, modulo 2²⁵⁶. The hash of a table is the sum over its buckets. So neither "
        "the order of rows nor a collation matters. The HMAC's key is random and stays in the target: without it no "
        "value can be guessed from a hash. It is called {key}.",
        "Строка берётся как текст её столбцов в порядке их имён, в котором NULL и пустой текст различны. "
        "HMAC-SHA-256 от текста ключа определяет одну из {buckets} корзин. У корзины есть число строк и сумма "
        "HMAC-SHA-256 её строк по модулю 2²⁵⁶; хеш таблицы — сумма по корзинам. Поэтому ни порядок строк, ни правила "
        "сортировки не важны. Ключ HMAC случаен и остаётся в приёмнике; без него по хешу нельзя угадать значение. "
        "Его имя: {key}.",
    ),
    "hashes_moment": (
        "The target's rows are read as of one moment, the source's page by page. What is written meanwhile can make "
        "the sides differ; a verify tells what does.",
        "Строки приёмника читаются на один момент, источника — страница за страницей. Записанное тем временем может "
        "дать различие сторон; в чём оно, покажет сверка.",
    ),
    "check_with": ("Whether anything has changed since, tells", "Изменилось ли что-нибудь с тех пор, скажет"),
    "sqlstate_22": ("a value does not fit its column", "значение не подходит столбцу"),
    "sqlstate_23": ("a constraint refuses the row", "ограничение не принимает строку"),
    "sqlstate_23502": ("a value is missing", "значение отсутствует"),
    "sqlstate_23503": ("the row that it refers to is missing", "нет строки, на которую она ссылается"),
    "sqlstate_23505": ("a unique key is already taken", "уникальный ключ уже занят"),
    "sqlstate_P0": ("a trigger refuses the row", "триггер не принимает строку"),
}  # fmt: skip


def texts(language: Language) -> dict[str, str]:
    """All words in a language."""
    return {name: both[language == "ru"] for name, both in _TEXTS.items()}
