import csv
import io

from masonite.tests import DatabaseTransactions

from zuplo_origin.testing import TestCase

HEADER = "reference,customer,quantity,price_cents,due\r\n"


class FilesTest(TestCase, DatabaseTransactions):
    connection = "main"

    def setUp(self):
        super().setUp()
        self.acting_as({"sub": "ada", "scope": "read:orders write:orders"})

    def send(self, body, content_type="text/csv"):
        return self.request("POST", "/orders.csv", body=body, content_type=content_type)

    def total(self):
        return self.get("/orders").assertOk().json()["meta"]["total"]

    def test_file_of_three_megabytes_is_imported_and_exported(self):
        customer = "Lovelace, " + "Ada " * 17
        lines = [f'A-{number},"{customer}",{number + 1},1999,2026-12-01\r\n' for number in range(30_000)]
        body = HEADER + "".join(lines)
        assert len(body) > 3_000_000

        self.send(body).assertIsStatus(201).assertJson({"imported": 30_000})
        exported = self.get("/orders.csv").assertOk().assertHasHeader("Content-Type", "text/csv; charset=utf-8")

        rows = list(csv.reader(io.StringIO(exported.response.content.decode())))
        assert rows[0] == ["id", "reference", "customer", "quantity", "price_cents", "due", "status"]
        assert rows[30_000][1:] == ["A-29999", customer, "30000", "1999", "2026-12-01", "open"]
        assert len(rows) == 30_001

    def test_export_has_the_orders_of_the_caller_only(self):
        self.send(HEADER + "A-1,Ada,1,1,2026-12-01\n").assertIsStatus(201)
        exported = self.acting_as({"sub": "bob", "scope": "read:orders"}).get("/orders.csv").assertOk()

        assert exported.response.content.count(b"\n") == 1

    def test_file_with_faults_is_422_with_their_lines_and_imports_nothing(self):
        response = self.send(
            HEADER + "A-1,Ada,1,1,2026-12-01\nA-2,Ada,none,1,2026-12-01\nA-3,a\x01b,1,1,never\nA-4,Ada\n"
        )

        fields = [each["field"] for each in response.assertIsStatus(422).json()["details"]]
        assert fields == ["line 3: quantity", "line 4: customer", "line 4: due", "line 5"]
        assert self.total() == 0

    def test_file_with_many_faults_is_read_until_the_hundredth(self):
        details = self.send(HEADER + "A-1,Ada,1,1,2026-12-01\n" + "A\n" * 1000).assertIsStatus(422).json()["details"]

        assert [each["field"] for each in details] == [f"line {number}" for number in range(3, 103)]

    def test_file_with_a_reference_twice_is_409_and_imports_nothing(self):
        self.send(HEADER + "A-1,Ada,1,1,2026-12-01\n" * 2).assertIsStatus(409)
        assert self.total() == 0

    def test_file_that_is_no_csv_is_422(self):
        for body in (
            b"",
            b"\xff\xfe",
            "a,b\n",
            HEADER + '"A-1',
            HEADER + "A-1,a\x00b,1,1,2026-12-01\n",
            HEADER + "1,2,3,4,5,6\n",
            HEADER + '"A\n1",Ada,1,1,2026-12-01\n',
            HEADER + "A" * 100_000,
            HEADER.encode() + b"A-1,\xff,1,1,2026-12-01\n",
        ):
            self.send(body).assertIsStatus(422)
        self.send(b"{}", "application/json").assertIsStatus(415)
        self.send("\ufeff" + HEADER.replace("reference", '"reference"')).assertIsStatus(201).assertJson({"imported": 0})
