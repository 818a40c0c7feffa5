/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A slot that memory of this process refers to: claimed when the memory is made, given back when it is freed, whatever kind of
 * memory it is and whoever kept it. Knows nothing of pools or elements. */
#include "gstcuframesslot.h"

static G_DEFINE_QUARK (gst-cuframes-slot, slot)

static GstCuframesSlot *
slot_new (CuframesRing * ring, guint32 index)
{
  GstCuframesSlot *slot = g_new (GstCuframesSlot, 1);

  slot->ring = cuframes_ring_ref (ring);
  slot->index = index;
  return slot;
}

/* (nullable): a claimed slot. Without one, result is what cuframes_ring_claim() said. */
GstCuframesSlot *
gst_cuframes_slot_claim (CuframesRing * ring, guint64 timeout_ns, gint * result)
{
  guint32 index;

  *result = cuframes_ring_claim (ring, timeout_ns, &index);
  return *result == 0 ? slot_new (ring, index) : NULL;
}

/* (nullable): one to copy a frame into. Without one, result is what cuframes_publisher_claim() said. */
GstCuframesSlot *
gst_cuframes_slot_claim_for_copy (CuframesPublisher * publisher, CuframesRing * ring, gint * result)
{
  guint32 index;

  *result = cuframes_publisher_claim (publisher, ring, &index);
  return *result == 0 ? slot_new (ring, index) : NULL;
}

/* A GDestroyNotify for the memory that refers to the slot. */
void
gst_cuframes_slot_free (gpointer data)
{
  GstCuframesSlot *slot = data;

  cuframes_ring_release (slot->ring, slot->index);
  cuframes_ring_unref (slot->ring);
  g_free (slot);
}

/* The memory must free the slot when it goes; this only makes it known. */
void
gst_cuframes_slot_attach (GstCuframesSlot * slot, GstMemory * memory)
{
  gst_mini_object_set_qdata (GST_MINI_OBJECT_CAST (memory), slot_quark (), slot, NULL);
}

/* (nullable) (transfer none): the slot that the whole of this memory is. A part that was shared out of it is none. */
GstCuframesSlot *
gst_cuframes_slot_peek (GstMemory * memory)
{
  if (memory->parent != NULL)
    return NULL;
  return gst_mini_object_get_qdata (GST_MINI_OBJECT_CAST (memory), slot_quark ());
}
