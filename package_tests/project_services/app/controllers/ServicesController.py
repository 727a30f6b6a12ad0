"""One action for each service. Each returns what the service says about the caller."""

import time

from app.policies.DocumentPolicy import Document
from app.providers.ServicesProvider import Seen
from masonite.controllers import Controller
from masonite.facades import Cache, Gate, Hash, Log
from masonite.helpers import compact
from masonite.request import Request
from masonite.response import Response
from masonite.validation import Validator

from zuplo_origin.http.errors import ValidationFailed
from zuplo_origin.services import Crypt


class ServicesController(Controller):
    def validate(self, request: Request, validate: Validator):
        user = request.claim("sub")
        errors = request.validate(validate.required("name"), messages={"name.required": f"{user}: no name"})
        if errors:
            raise ValidationFailed(errors)
        return {"name": request.input("name")}

    def bound(self, request: Request, validate: Validator):
        user = request.claim("sub")
        errors = validate.validate({}, validate.required("name"), messages={"name.required": f"{user}: no name"})
        return {"user": errors.get("name")[0].split(":")[0]}

    def gate(self, request: Request):
        owner = request.param("owner")
        document = Document(owner)
        return {"gate": Gate.allows("read-own", owner), "policy": Gate.allows("view", document), "owner": owner}

    def authorize(self, request: Request):
        request.authorize("view", Document(request.param("owner")))
        return {"user": request.claim("sub")}

    def archive(self):
        Gate.authorize("archive", Document("anyone"))

    def entry(self, request: Request):
        key = f"entry of {request.claim('sub')}/../\u00e9"
        Cache.put(key, {"user": request.claim("sub"), "list": [1, "1", None]}, 60)
        found = Cache.get(key)
        return {"user": found["user"], "list": found["list"]}

    def count(self, request: Request):
        Cache.add(request.param("name"), 0)  # Masonite's increments only what is there
        return {"count": Cache.increment(request.param("name"))}

    def remember(self, request: Request):
        name = request.param("name")

        def compute(cache):
            Cache.increment(f"computed {name}")
            time.sleep(0.05)
            cache.put(f"remembered {name}", {"value": name}, 60)

        return {"value": Cache.remember(f"remembered {name}", compute), "computed": Cache.get(f"computed {name}")}

    def value(self, request: Request):
        return {"value": Cache.get(request.param("name"))}

    def limited(self):
        return {"ok": True}

    def event(self, request: Request):
        from wsgi import application

        application.make("event").fire(Seen(request.claim("sub")))
        return {"user": request.seen}

    def failing_event(self):
        from wsgi import application

        application.make("event").fire("failing")

    def hash(self, request: Request):
        made = Hash.make(request.claim("sub"))
        return {"right": Hash.check(request.claim("sub"), made), "wrong": Hash.check("another", made)}

    def sign(self, request: Request):
        return {"user": Crypt.decrypt(Crypt.encrypt(request.claim("sub")))}

    def cookie(self, request: Request, response: Response):
        response.cookie("user", request.claim("sub"))
        return {"user": request.cookie("user")}

    def log(self, request: Request):
        Log.channel("audit").info("not written")
        Log.warning(f"user {request.claim('sub')}")
        return {"ok": True}

    def compact(self, request: Request):
        user, account = request.claim("sub"), request.claim("account")
        return compact(user, account)

    def url(self):
        from wsgi import application

        return {"url": application.make("url").route("named", {"owner": "me"}), "container": container() is application}  # noqa: F821
