/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From rows to a table for people and to JSON for programs. */
#ifndef FANOUT_REPORT_H
#define FANOUT_REPORT_H

#include "fanout-run.h"

/* The table in Markdown, readable on a terminal too. (transfer full) */
gchar *fanout_report_table (GPtrArray * rows);
gchar *fanout_report_json (GPtrArray * rows);
/* What it was measured on, as a Markdown list. (transfer full) */
gchar *fanout_report_machine (gboolean with_gpu);
/* Writes the text as section @title of the file, in the place of one of that title, else at the end. */
gboolean fanout_report_write_section (const gchar * path, const gchar * title, const gchar * text, GError ** error);

#endif
