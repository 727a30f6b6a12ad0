"""Django REST framework with simplejwt, which takes one algorithm: RS256."""

import os

import django
from django.conf import settings

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "rest_framework_simplejwt"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="not used by what is measured, and long enough for Django",  # noqa: S106
    SIMPLE_JWT={
        "ALGORITHM": "RS256",
        "AUDIENCE": AUDIENCE,
        "AUTH_TOKEN_CLASSES": ("rest_framework_simplejwt.tokens.UntypedToken",),
        "ISSUER": ISSUER,
        "JTI_CLAIM": None,
        "JWK_URL": f"{ISSUER}/.well-known/jwks.json",
        "SIGNING_KEY": "",
        "TOKEN_TYPE_CLAIM": None,
        "USER_ID_CLAIM": "sub",
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402  # Django requires setup() before it
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Protected(APIView):
    def get(self, request):
        return Response({"message": "Access granted", "user": request.auth.payload})


class Echo(APIView):
    def post(self, request):
        return Response(request.data)


urlpatterns = [path("protected", Protected.as_view()), path("echo", Echo.as_view())]
app = get_wsgi_application()
