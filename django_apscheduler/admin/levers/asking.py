"""Pages that ask before something is done, and the way back from them."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_apscheduler.admin.base import link
from django_apscheduler.admin.levers.levers import unpack


class Button(NamedTuple):
    """
    Something to press.

    :ivar posts: whether pressing it does something; else it leads to a page that asks
    """

    address: str
    icon: SafeString
    label: Any
    posts: bool = True


class Asking:
    """What a `SchedulerAdmin` needs for views of its own beside Django's."""

    def own_address(self, name: str, row: Any = None) -> str:
        """Return the address of one of the views for this model, or for a row of it."""
        return reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}",
            args=() if row is None else (quote(row.pk),),
            current_app=self.admin_site.name,
        )

    def list_address(self) -> str:
        return link(self.opts.model_name, self.admin_site.name, {})

    def to_list(self) -> HttpResponse:
        return HttpResponseRedirect(self.list_address())

    def next_address(self, request: HttpRequest) -> str:
        """Return where the user came from, or where else he can go on."""
        listed = self.list_address()
        candidates = (
            request.POST.get("next", ""),
            request.META.get("HTTP_REFERER", ""),
        )
        for address in candidates:
            if not url_has_allowed_host_and_scheme(
                address, {request.get_host()}, request.is_secure()
            ):
                continue
            # The page that asks is not where he came from, unless it stands in the
            # place of the list.
            if request.path == listed or request.path not in address:
                return address
        return listed

    def back(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(self.next_address(request))

    def row_for(
        self,
        request: HttpRequest,
        object_id: str,
        codename: str = "",
        methods: tuple[str, ...] = ("GET", "HEAD", "POST"),
    ) -> Any:
        """
        Return a row that the user may look at and, if one is named, has a permission for.

        The answer to give instead when there is none, or the method is another.

        :raises PermissionDenied: when the user may not
        """
        if request.method not in methods:
            return HttpResponseNotAllowed(methods)
        if codename and not self.may(request, codename):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(
                request, self.opts, unquote(object_id)
            )
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def shown_rows(
        self, request: HttpRequest, codename: str
    ) -> dict[str, int] | HttpResponse:
        """Return which rows the posted page showed; as `row_for` for one."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.may(request, codename) or not self.has_view_permission(request):
            raise PermissionDenied
        shown = unpack(self.opts.model_name, request.POST.get("rows", ""))
        if shown is None:
            messages.error(
                request,
                gettext("Nothing was done: the form named no rows. Select them anew."),
            )
            return self.to_list()
        return shown

    def asking_page(
        self, request: HttpRequest, name: str, context: dict[str, Any]
    ) -> HttpResponse:
        """
        Return a page that asks before something is done.

        :param name: of the template
        """
        return TemplateResponse(
            request,
            f"admin/django_apscheduler/levers/{name}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "back": self.next_address(request),
                **context,
            },
        )
