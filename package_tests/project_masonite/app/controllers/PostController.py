from masonite.controllers import Controller
from masonite.events import Event
from masonite.request import Request
from masonite.response import Response
from masonite.validation import Validator

from app.events.PostCreated import PostCreated
from app.models.Post import Post


class PostController(Controller):
    def index(self):
        return Post.with_("author").get()

    def show(self, request: Request):
        return Post.find_or_fail(request.param("id"))

    def store(self, request: Request, response: Response, validate: Validator, event: Event):
        errors = request.validate(validate.required(["title", "body"]))
        if errors:
            return response.back().with_errors(errors).with_input()

        post = Post.create(
            {"title": request.input("title"), "body": request.input("body"), "author_id": request.user().id}
        )
        event.fire(PostCreated(post))
        return response.redirect(name="posts.show", params={"id": post.id})

    def update(self, request: Request, response: Response):
        post = Post.find_or_fail(request.param("id"))
        request.authorize("update", post)
        post.update({"body": request.input("body")})
        request.session.flash("success", "The post has been changed.")
        return response.redirect(name="posts.show", params={"id": post.id})
