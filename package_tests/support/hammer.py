"""Many clients that send requests at once, each with a user and a number of its own."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable

CLIENTS = 16


def hammer(port: int, path: str, requests: int, check: Callable[[str, str, str], bool] | None = None) -> Counter:
    """Send `requests` requests from each of 16 clients; `user` and `number` are added to the query of `path`.

    Return the number of responses for each status, with `wrong` for those of 200 whose body `check` does not accept,
    and `broken` for those that were not received.
    """
    seen: list[object] = []

    def client(user: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(requests):
            try:
                connection.request("GET", f"{path}user={user}&number={number}")
                response = connection.getresponse()
                body = response.read().decode()
            except (OSError, http.client.HTTPException):
                connection.close()
                seen.append("broken")
                continue
            is_wrong = response.status == 200 and check is not None and not check(body, user, str(number))
            seen.append("wrong" if is_wrong else response.status)
        connection.close()

    threads = [threading.Thread(target=client, args=(f"user{number}",)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(seen)


def everyone(requests: int) -> Counter:
    """Return the users and numbers of all requests that `hammer` sends, each once."""
    return Counter((f"user{user}", str(number)) for user in range(CLIENTS) for number in range(requests))
