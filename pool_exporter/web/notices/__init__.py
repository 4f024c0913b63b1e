"""Warnings, once and in words, of a page that does not show the pools which its reader expects."""
