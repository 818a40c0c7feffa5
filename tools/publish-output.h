/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The channels. They are open from beginning to end, whatever comes in. */
#ifndef PUBLISH_OUTPUT_H
#define PUBLISH_OUTPUT_H

#include <gst/gst.h>

#include "publish-input.h"

#define PUBLISH_SETTINGS_MAX 16

/* A property of the sinks, as the user wrote it. */
typedef struct
{
  const gchar *option;
  const gchar *property;
  const gchar *value;
} PublishSetting;

typedef struct
{
  const gchar *channel;
  gboolean lanes[PUBLISH_LANES];
  gboolean sync;                /* publish when it is due, rather than as it comes */
  PublishSetting settings[PUBLISH_SETTINGS_MAX];
  guint setting_count;
} PublishOutputConfig;

typedef enum
{
  PUBLISH_OUTPUT_ERROR_SETTING, /* a value that a property does not take */
  PUBLISH_OUTPUT_ERROR_CHANNEL, /* a channel that cannot be opened */
  PUBLISH_OUTPUT_ERROR_MISSING, /* no cuframessink */
} PublishOutputError;

typedef struct
{
  gboolean is_open;
  guint64 published;
  guint64 drops;
  guint64 copies;
  guint subscribers;
} PublishLaneStats;

typedef struct _PublishOutput PublishOutput;

GQuark publish_output_error_quark (void);
#define PUBLISH_OUTPUT_ERROR publish_output_error_quark ()

PublishOutput *publish_output_new (const PublishOutputConfig * config, GError ** error);
void publish_output_free (PublishOutput * self);
GstElement *publish_output_peek_pipeline (const PublishOutput * self);
void publish_output_attach (PublishOutput * self, GstElement * bin);
void publish_output_detach (PublishOutput * self);
void publish_output_close_lane (PublishOutput * self, PublishLane lane);
void publish_output_end (PublishOutput * self);
gboolean publish_output_is_drain_of (const GstStructure * structure, GstElement * bin);
void publish_output_get_stats (PublishOutput * self, PublishLane lane, PublishLaneStats * ret_stats);

#endif
