"""Values that a move easily loses, as PostgreSQL's own text: among the made-up salon's clients, and beside them."""

from typing import Final

from app.embedded.salon.ids import Row

# Everyone can read these: they replace values of the salon's first clients, from the eleventh on.
READABLE: Final[tuple[Row, ...]] = (
    {
        "name": 'О\'Нил "Кавычка" \\ слэш',
        "visit_history": '[1.10, 12345678901234567890, 0.0000000001, 1e400, -0.0, "é😀", {"": null}]',
        "notes": 'tab\there "quotes" back\\slash \r\n nl',
    },
    {"preferences": "null", "ai_context": None, "goods_purchases": "null"},
    {"preferences": None, "ai_context": "null", "goods_purchases": '""'},
    {
        "ai_context": '{"а": [1, null, true, {"б": "ё\\"\\\\\\n", "в": [[[]]]}], "\\\\": "\\u0001\\u2028", "N": 0.10}',
        "goods_purchases": "12345678901234567890.1234567890",
        "preferences": "[]",
    },
    {
        "discount": "NaN",
        "total_spent": "9999999999.99",
        "average_bill": "-9999999999.99",
        "services_amount": "0.00",
        "goods_amount": "-0.01",
        "ai_satisfaction_score": "NaN",
        "visit_count": "2147483647",
        "goods_count": "-2147483648",
    },
    {
        "tags": '{"a\\"b","c,d","{e}",NULL,"","NULL",null,"обр\\\\слэш","новый\nстрока"," пробел ","👩‍👩‍👧"}',
        "branch_ids": "{{1,2},{3,4}}",
        "last_service_ids": "[0:1]={1,2}",
        "favorite_staff_ids": "{NULL,-1,NULL}",
        "last_services": '{{"два слова",NULL},{"","\\""}}',
        "preferred_time_slots": "[-1:0]={утро,NULL}",
    },
    {
        "tags": "{}",
        "branch_ids": "{}",
        "last_service_ids": None,
        "last_services": "{NULL}",
        "preferred_time_slots": "{}",
    },
    {"email": "", "status": "", "source": "", "notes": "", "raw_phone": "", "name": ""},
    {"email": None, "status": None, "source": None, "notes": None, "raw_phone": None, "name": "100% хлопок_*\\"},
    {
        "name": "Эмодзи 👩‍🚀🇷🇺 é и é",
        "first_visit_date": "0001-01-01",
        "last_visit_date": "9999-12-31",
        "last_sync_at": "0001-01-01 00:00:00",
        "last_ai_interaction": "9999-12-31 23:59:59.999999",
    },
)

# Rows of their own: Python holds no infinity, no date before the year 1, and not every number and depth of JSON.
UNREADABLE: Final[tuple[Row, ...]] = (
    {"created_at": "infinity", "last_visit_date": "infinity"},
    {"updated_at": "-infinity", "first_visit_date": "-infinity"},
    {"first_visit_date": "0044-03-15 BC", "last_sync_at": "0044-03-15 12:00:00.000001 BC"},
    {"first_visit_date": "4713-01-01 BC", "last_visit_date": "5874897-12-31"},
    {"last_ai_interaction": "294276-12-31 23:59:59.999999", "last_visit_date": "10000-01-01"},
    {"created_at": None, "updated_at": None, "visit_count": None, "blacklisted": None, "goods_count": None},
    {"visit_history": "[1e131000, 1e-16000]", "ai_context": "[" * 1000 + "]" * 1000},
    {"tags": "[2147483640:2147483641]={a,b}", "branch_ids": "[-5:-4][3:4]={{1,NULL},{3,4}}"},
    {"company_id": None, "name": None, "phone": ""},
)

UNREADABLE_KEY: Final[Row] = {
    "key_type": "session",
    "key_id": "79000000001_1.0",
    "value": "null",
    "created_at": "0044-03-15 12:00:00+00 BC",
    "updated_at": "-infinity",
    "expires_at": "infinity",
}


def every_character() -> str:
    """Every character that PostgreSQL accepts in a text: all but zero and the surrogates; 4.4 MB in UTF-8."""
    return "".join(map(chr, (*range(1, 0xD800), *range(0xE000, 0x110000))))
