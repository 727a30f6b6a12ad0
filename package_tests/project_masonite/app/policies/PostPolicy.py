from masonite.authorization import Policy


class PostPolicy(Policy):
    def view(self, user, instance):
        return True

    def update(self, user, instance):
        return user.id == instance.author_id
