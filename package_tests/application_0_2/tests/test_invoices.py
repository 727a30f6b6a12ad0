import json

from zuplo_origin.testing import TestCase

PATH = "/invoices"
BODY = {"name": "first"}
READ = "read:invoices"
WRITE = "write:invoices"
REQUESTS = [("GET", PATH), ("GET", f"{PATH}/1"), ("POST", PATH), ("PUT", f"{PATH}/1"), ("DELETE", f"{PATH}/1")]


class InvoicesTest(TestCase):
    def store(self) -> str:
        """Store a row, and return its path."""
        response = self.acting_as(WRITE).post(PATH, BODY)
        response.assertIsStatus(201).assertJsonPath("name", "first")
        return f"{PATH}/{json.loads(response.content)['id']}"

    def test_invoices_are_listed(self):
        path = self.store()

        response = self.acting_as(READ).get(PATH).assertOk()

        assert path in [f"{PATH}/{row['id']}" for row in json.loads(response.content)["data"]]

    def test_invoices_are_stored_shown_updated_and_deleted(self):
        path = self.store()

        self.acting_as(READ).get(path).assertOk().assertJsonPath("name", "first")
        self.acting_as(WRITE).put(path, {"name": "second"}).assertOk()
        self.acting_as(READ).get(path).assertOk().assertJsonPath("name", "second")
        self.acting_as(WRITE).delete(path).assertNoContent()
        self.acting_as(READ).get(path).assertIsStatus(404)

    def test_invoices_are_validated(self):
        response = self.acting_as(WRITE).post(PATH, {"name": ""})

        response.assertIsStatus(422).assertJsonPath("details.0.field", "name")

    def test_invoices_that_do_not_exist_are_404(self):
        self.acting_as(WRITE).put(f"{PATH}/999999999", BODY).assertIsStatus(404)
        self.acting_as(WRITE).delete(f"{PATH}/999999999").assertIsStatus(404)

    def test_invoices_need_a_token(self):
        for method, path in REQUESTS:
            self.request(method, path).assertUnauthorized()

    def test_invoices_need_their_scopes(self):
        for method, path in REQUESTS:
            self.acting_as("something:else").request(method, path).assertForbidden()

    def test_invoices_are_not_changed_by_readers(self):
        for method, path in REQUESTS[2:]:
            self.acting_as(READ).request(method, path).assertForbidden()
