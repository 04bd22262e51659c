"""The public JSON API: read what is published, hand in something new."""

from django.core.cache import caches
from django.utils.connection import ConnectionProxy
from rest_framework import mixins, pagination, serializers, throttling, viewsets
from rest_framework.permissions import AllowAny

from .models import PrayerPraiseRequest


class RequestSerializer(serializers.ModelSerializer):
    class Meta:
        model = PrayerPraiseRequest
        fields = ["id", "type", "name", "content", "response", "created_at"]
        read_only_fields = ["response"]


class RequestPagination(pagination.PageNumberPagination):
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


class CreateThrottle(throttling.SimpleRateThrottle):
    """Limits what one address hands in. Its cache fails open: without Redis a prayer is taken, uncounted."""

    scope = "create"
    cache = ConnectionProxy(caches, "throttle")

    def get_cache_key(self, request, view):
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class RequestViewSet(mixins.ListModelMixin, mixins.CreateModelMixin, viewsets.GenericViewSet):
    """GET lists what is published, newest first. POST takes a request, which a moderator sees first."""

    queryset = PrayerPraiseRequest.objects.published().order_by("-approved_at", "-id")
    serializer_class = RequestSerializer
    pagination_class = RequestPagination
    permission_classes = [AllowAny]

    def get_throttles(self):
        return [CreateThrottle()] if self.action == "create" else []

    def perform_create(self, serializer):
        user = self.request.user
        serializer.save(author=user if user.is_authenticated else None)
