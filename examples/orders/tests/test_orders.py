import pytest
from masonite.tests import DatabaseTransactions

from zuplo_origin.testing import TestCase

ADA = {"sub": "ada", "scope": "read:orders write:orders"}
ORDER = {"reference": "A-1", "customer": "Ada", "quantity": 3, "price_cents": 1999, "due": "2026-12-01"}


class OrdersTest(TestCase, DatabaseTransactions):
    connection = "main"

    def setUp(self):
        super().setUp()
        self.acting_as(ADA)

    def create(self, **fields):
        """Create an order, and return it."""
        return self.post("/orders", ORDER | fields).assertIsStatus(201).json()

    def change(self, id, **fields):
        """Change the current version of an order."""
        tag = self.get(f"/orders/{id}").assertOk().response.header("ETag")
        return self.with_headers({"If-Match": tag}).patch(f"/orders/{id}", fields)

    def listed(self, query=""):
        return [order["reference"] for order in self.get(f"/orders{query}").assertOk().json()["data"]]

    def test_order_is_created_and_shown(self):
        created = self.create()

        assert created.items() >= (ORDER | {"status": "open"}).items() and "owner" not in created
        self.get(f"/orders/{created['id']}").assertOk().assertJsonExact(created)

    def test_order_is_created_once_although_the_request_is_repeated(self):
        self.with_headers({"Idempotency-Key": "8e03978e"})
        first, again = self.create(), self.post("/orders", ORDER)

        again.assertIsStatus(201).assertHasHeader("Idempotency-Replayed", "true").assertJsonExact(first)
        assert self.listed() == ["A-1"]
        self.post("/orders", ORDER | {"quantity": 4}).assertIsStatus(422)

    def test_order_is_changed_in_the_fields_that_are_sent(self):
        created = self.create()

        changed = self.change(created["id"], quantity=4, status="cancelled").assertOk().json()

        assert changed | {"updated_at": None} == created | {"quantity": 4, "status": "cancelled", "updated_at": None}
        self.change(created["id"]).assertOk()

    def test_newer_version_of_an_order_is_not_overwritten(self):
        path = f"/orders/{self.create()['id']}"

        self.patch(path, {"quantity": 4}).assertIsStatus(428)
        seen = self.get(path).response.header("ETag")
        current = self.with_headers({"If-Match": seen}).patch(path, {"quantity": 4}).assertOk().response.header("ETag")
        self.patch(path, {"quantity": 5}).assertIsStatus(412).assertHasHeader("ETag", current)
        self.get(path).assertJsonPath("quantity", 4)

    def test_order_is_deleted(self):
        path = f"/orders/{self.create()['id']}"

        self.delete(path).assertNoContent()
        self.get(path).assertIsStatus(404)

    def test_second_order_with_a_reference_of_the_caller_is_409(self):
        self.create()

        self.post("/orders", ORDER).assertIsStatus(409)
        assert self.listed() == ["A-1"]
        self.acting_as({"sub": "bob", "scope": "write:orders"}).post("/orders", ORDER).assertIsStatus(201)

    def test_orders_of_another_caller_are_404(self):
        path = f"/orders/{self.create()['id']}"
        self.acting_as(ADA | {"sub": "bob"})

        assert self.listed() == []
        self.get(path).assertIsStatus(404)
        self.patch(path, {"quantity": 1}).assertIsStatus(404)
        self.delete(path).assertIsStatus(404)

    def test_orders_are_listed_in_pages(self):
        for number in range(5):
            self.create(reference=f"A-{number}")

        response = self.get("/orders?page=2&per_page=2").assertOk()

        response.assertJsonPath("data.0.reference", "A-2").assertJsonPath("data.1.reference", "A-3")
        response.assertJsonPath("meta.total", 5).assertJsonPath("links.next", "?page=3&per_page=2")
        assert self.listed("?page=1000000&per_page=100") == []

    def test_orders_are_filtered_and_sorted(self):
        self.create(reference="early", due="2026-01-01", price_cents=2)
        late = self.create(reference="late", due="2026-12-31", price_cents=1)
        self.change(late["id"], status="cancelled")

        assert self.listed("?due_before=2026-06-01") == ["early"]
        assert self.listed("?status=cancelled") == ["late"]
        assert self.listed("?sort=price_cents") == ["late", "early"]
        assert self.listed("?sort=-price_cents") == ["early", "late"]

    def test_orders_need_scopes_and_a_subject(self):
        self.acting_as(ADA | {"scope": "read:orders"}).post("/orders", ORDER).assertForbidden()
        self.acting_as(ADA | {"scope": "write:orders"}).get("/orders").assertForbidden()
        self.acting_as(ADA | {"sub": None}).get("/orders").assertForbidden()

    def test_admin_sees_the_orders_of_all_callers(self):
        self.create()

        listed = self.acting_as({"sub": "root", "roles": ["admin"]}).get("/admin/orders").assertOk()
        listed.assertJsonPath("meta.total", 1)
        self.acting_as({"sub": "ada", "roles": ["clerk"]}).get("/admin/orders").assertForbidden()


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


@pytest.fixture
def ada(client):
    return client.acting_as(ADA)


@pytest.mark.parametrize(("field", "value"), INVALID)
def test_invalid_order_is_422(ada, field, value):
    ada.post("/orders", ORDER | {field: value}).assertIsStatus(422).assertJsonPath("details.0.field", field)
    if field not in ("reference", "owner"):
        ada.patch("/orders/1", {field: value}).assertIsStatus(422)


@pytest.mark.parametrize("query", QUERIES)
def test_invalid_query_is_422(ada, query):
    ada.get(f"/orders?{query}").assertIsStatus(422)


@pytest.mark.parametrize("path", PATHS)
def test_unknown_order_is_404(ada, path):
    for response in (ada.get(path), ada.patch(path, {"quantity": 1}), ada.delete(path)):
        assert response.response.get_status_code()[:3] in ("404", "400")  # 400: a control character in the path


def test_token_that_is_expired_forged_or_of_another_audience_is_401(client):
    for rejected in (client.with_expired_token, client.with_forged_token, client.with_token_of_another_audience):
        rejected(**ADA).get("/orders").assertUnauthorized()


def test_token_is_required(client):
    client.get("/orders").assertUnauthorized().assertJson({"error": "No token provided"})
