"""Names of tables and columns become names that Python takes, each its own."""

import keyword
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from app.adopt.models.named_tables import attribute_name, class_name, module_name

_ANY = st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1), min_size=1)


def test_odd_names_become_these() -> None:
    columns = ("id", "datetime", "metadata", "class", "имя", "a.b", "1st", "str", "__x", "a\U0001ed01")
    assert [attribute_name(name) for name in columns] == [
        "id", "datetime", "metadata_", "class_", "имя", "a_b", "c_1st", "str_", "c_x", "a_",
    ]  # fmt: skip
    tables = ("post_items", "Post Item", "User", "order", "имя", "2024", "Any", "\xa8")
    assert [class_name(name) for name in tables] == [
        "PostItems", "PostItem", "User", "Order", "Имя", "Table2024", "Any_", "Tablë",
    ]  # fmt: skip
    assert [module_name(name) for name in ("Post Item", "import", "base", "UserRole", "2024", "-")] == [
        "post_item", "import_", "base_", "user_role", "t_2024", "t",
    ]  # fmt: skip


@given(_ANY)
def test_any_names_become_names_that_differ(names: list[str]) -> None:
    for made in (attribute_name, class_name, module_name):
        found: list[str] = []
        for name in names:
            found.append(made(name, found))
        assert len(set(found)) == len(names)
        assert all(name.isidentifier() and not keyword.iskeyword(name) for name in found)
        assert found == [unicodedata.normalize("NFKC", name) for name in found]
