import json

import pytest
from masonite.tests import DatabaseTransactions

from zuplo_origin.testing import TestCase

ORDER = {"reference": "A-1", "customer": "Ada", "quantity": 3, "price_cents": 1999, "due": "2026-12-01"}


class OrdersTest(TestCase, DatabaseTransactions):
    connection = "orders"

    def setUp(self):
        super().setUp()
        self.acting_as("read:orders write:orders", sub="ada")

    def create(self, **fields):
        """Create an order, and return it."""
        response = self.post("/orders", ORDER | fields)
        response.assertIsStatus(201)
        return json.loads(response.content)

    def listed(self, query=""):
        return [order["reference"] for order in json.loads(self.get(f"/orders{query}").assertOk().content)["data"]]

    def test_order_is_created_and_shown(self):
        created = self.create()

        assert created.items() >= (ORDER | {"status": "open"}).items() and "owner" not in created
        shown = self.get(f"/orders/{created['id']}").assertOk()
        assert json.loads(shown.content) == created

    def test_order_is_changed_in_the_fields_that_are_sent(self):
        created = self.create()

        changed = self.patch(f"/orders/{created['id']}", {"quantity": 4, "status": "cancelled"}).assertOk()

        assert json.loads(changed.content) | {"updated_at": None} == created | {
            "quantity": 4,
            "status": "cancelled",
            "updated_at": None,
        }
        self.patch(f"/orders/{created['id']}", {}).assertOk()

    def test_order_is_deleted(self):
        path = f"/orders/{self.create()['id']}"

        self.delete(path).assertNoContent()
        self.get(path).assertIsStatus(404)

    def test_second_order_with_a_reference_of_the_caller_is_409(self):
        self.create()

        self.post("/orders", ORDER).assertIsStatus(409)
        assert self.listed() == ["A-1"]
        self.acting_as("write:orders", sub="bob").post("/orders", ORDER).assertIsStatus(201)

    def test_orders_of_another_caller_are_404(self):
        path = f"/orders/{self.create()['id']}"
        self.acting_as("read:orders write:orders", sub="bob")

        assert self.listed() == []
        self.get(path).assertIsStatus(404)
        self.patch(path, {"quantity": 1}).assertIsStatus(404)
        self.delete(path).assertIsStatus(404)

    def test_orders_are_listed_in_pages(self):
        for number in range(5):
            self.create(reference=f"A-{number}")

        response = self.get("/orders?page=2&per_page=2").assertOk()

        response.assertJsonPath("data.0.reference", "A-2").assertJsonPath("data.1.reference", "A-3")
        response.assertJsonPath("meta.total", 5).assertJsonPath("meta.next_page", 3)
        assert self.listed("?page=1000000&per_page=100") == []

    def test_orders_are_filtered_and_sorted(self):
        self.create(reference="early", due="2026-01-01", price_cents=2)
        late = self.create(reference="late", due="2026-12-31", price_cents=1)
        self.patch(f"/orders/{late['id']}", {"status": "cancelled"})

        assert self.listed("?due_before=2026-06-01") == ["early"]
        assert self.listed("?status=cancelled") == ["late"]
        assert self.listed("?sort=price_cents") == ["late", "early"]
        assert self.listed("?sort=-price_cents") == ["early", "late"]

    def test_orders_need_scopes_and_a_subject(self):
        self.acting_as("read:orders", sub="ada").post("/orders", ORDER).assertForbidden()
        self.acting_as("write:orders", sub="ada").get("/orders").assertForbidden()
        self.acting_as("read:orders", sub=None).get("/orders").assertForbidden()
        del self.headers["Authorization"]
        self.get("/orders").assertUnauthorized()

    def test_admin_sees_the_orders_of_all_callers(self):
        self.create()

        self.acting_as(sub="root", roles=["admin"]).get("/admin/orders").assertOk().assertJsonPath("meta.total", 1)
        self.acting_as(sub="ada", roles=["clerk"]).get("/admin/orders").assertForbidden()


INVALID = [
    ("reference", ""),
    ("reference", "a\x00b"),
    ("reference", "../x"),
    ("reference", "x" * 41),
    ("customer", "a\x00b"),
    ("customer", "=1+1"),
    ("customer", None),
    ("quantity", 0),
    ("quantity", 10**30),
    ("quantity", 1.5),
    ("price_cents", -1),
    ("price_cents", "1e3"),
    ("due", "2026-02-30"),
    ("due", "tomorrow"),
    ("owner", "bob"),
]
QUERIES = [
    "page=0",
    "page=-1",
    "page=99999999999999999999",
    "page=x",
    "page=1&page=2",
    "per_page=101",
    "per_page=",
    "sort=owner",
    "sort=id;DROP TABLE orders",
    "status=%00",
    "due_before=2026-13-01",
    "owner=bob",
]
PATHS = [f"/orders/{id}" for id in (0, 10**6, 2**31, 2**63, 10**30, "x", "-1", "1.5", "%00", "1%00")]


@pytest.mark.parametrize(("field", "value"), INVALID)
def test_invalid_order_is_422(field, value):
    case = client()

    case.post("/orders", ORDER | {field: value}).assertIsStatus(422).assertJsonPath("details.0.field", field)
    if field not in ("reference", "owner"):
        case.patch("/orders/1", {field: value}).assertIsStatus(422)


@pytest.mark.parametrize("query", QUERIES)
def test_invalid_search_is_422(query):
    client().get(f"/orders?{query}").assertIsStatus(422)


@pytest.mark.parametrize("path", PATHS)
def test_unknown_order_is_404(path):
    case = client()

    for response in (case.get(path), case.patch(path, {"quantity": 1}), case.delete(path)):
        assert response.response.get_status_code()[:3] in ("404", "400")  # 400: a control character in the path


def client():
    case = OrdersTest()
    TestCase.setUp(case)
    case.doCleanups()
    return case.acting_as("read:orders write:orders", sub="ada")
