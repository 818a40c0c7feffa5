/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PUBLISH_SESSION_H
#define PUBLISH_SESSION_H

#include "publish-output.h"
#include "publish-place.h"
#include "publish-report.h"

typedef struct
{
  PublishPlace place;
  PublishInputConfig input;     /* but for place, lanes, pipeline and counts */
  PublishOutputConfig output;   /* but for sync */
  gboolean loop;
  gboolean reconnect;
  guint64 timeout_ns;           /* to have the first packet */
  guint64 stall_ns;             /* without a packet: a camera is gone */
  guint64 interval_ns;          /* of status lines */
} PublishSessionConfig;

int publish_session_run (const PublishSessionConfig * config, PublishReport * report);

#endif
