"""The reference page of the admin API says what its OpenAPI document says."""

import ast
import re

from controlplane.access.roles import Role
from controlplane.api.document import make_document
from controlplane.app import ROUTES, dependencies
from controlplane.commands import DATABASE_VARIABLE, MASTER_VARIABLE
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "reference" / "admin-api.md"


def route_rows() -> list[str]:
    """The table of routes."""
    document = make_document(ROUTES, dependencies(None))
    rows = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            marks = " | ".join("yes" if role.value in operation["x-roles"] else "" for role in Role)
            does = operation["description"]
            rows.append(f"| `{method.upper()} {path}` | {does} | {marks} |".replace("  ", " "))
    return sorted(rows, key=lambda row: row.split("`")[1].split()[::-1])


def field_rows() -> list[str]:
    """The table of what may be sent."""
    document = make_document(ROUTES, dependencies(None))
    rows = []
    for name, schema in sorted(document["components"]["schemas"].items()):
        if name.endswith(("Draft", "Edits", "Rotation")):
            needed = schema.get("required", [])
            fields = ", ".join(f"**`{field}`**" if field in needed else f"`{field}`" for field in schema["properties"])
            rows.append(f"| `{name}` | {fields} |")
    return rows


def test_the_page_lists_every_route_with_its_roles() -> None:
    listed = re.findall(r"^\| `[A-Z]+ /.*\|$", PAGE.read_text(), re.MULTILINE)
    assert listed == route_rows()


def test_the_page_lists_every_body_with_its_fields() -> None:
    listed = re.findall(r"^\| `[A-Z][A-Za-z]+` \|.*\|$", PAGE.read_text(), re.MULTILINE)
    assert listed == field_rows()


def test_the_page_names_the_variables() -> None:
    text = (ROOT / "docs" / "how-to" / "tenants-and-keys.md").read_text()
    for name in (DATABASE_VARIABLE, MASTER_VARIABLE, "FASTPATH_ADMIN_KEY", "FASTPATH_ADMIN_URL"):
        assert name in text


def made_codes() -> set[str]:
    """Codes of the problems that the rooms raise: the second argument, as a text."""
    makers = {"Problem", "conflict", "forbidden"}
    found = set()
    for path in (ROOT / "controlplane").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers:
                found |= {each.value for each in node.args[1:2] if isinstance(each, ast.Constant)}
    return found


def test_every_code_of_a_problem_is_documented() -> None:
    listed = set(re.findall(r"^\| \d+ \| `([a-z_]+)`", PAGE.read_text(), re.MULTILINE))
    assert len(made_codes()) > 10
    assert made_codes() <= listed
