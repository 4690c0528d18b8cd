"""URLs of the demo project."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from testproject.housekeeping import views

urlpatterns = [
    path("", views.home, name="home"),
    path("reports/", views.order_report, name="order-report"),
    path("reports/<int:pk>.csv", views.download_report, name="download-report"),
    path("admin/", admin.site.urls),
]
