/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libnvcuvid.so.1 that can decode nothing.  GStreamer's nvcodec plugin
 * registers its CUDA elements only where it finds the decoder's or the
 * encoder's library, and registers decoders only for what that one can do.
 */

#define NOT_SUPPORTED 801       /* CUDA_ERROR_NOT_SUPPORTED */

#define UNSUPPORTED(name) \
  int name (void) __attribute__((visibility ("default"))); \
  int name (void) \
  { \
    return NOT_SUPPORTED; \
  }

/* *INDENT-OFF* */
UNSUPPORTED (cuvidCreateDecoder)
UNSUPPORTED (cuvidCreateVideoParser)
UNSUPPORTED (cuvidCtxLock)
UNSUPPORTED (cuvidCtxLockCreate)
UNSUPPORTED (cuvidCtxLockDestroy)
UNSUPPORTED (cuvidCtxUnlock)
UNSUPPORTED (cuvidDecodePicture)
UNSUPPORTED (cuvidDestroyDecoder)
UNSUPPORTED (cuvidDestroyVideoParser)
UNSUPPORTED (cuvidGetDecodeStatus)
UNSUPPORTED (cuvidGetDecoderCaps)
UNSUPPORTED (cuvidMapVideoFrame)
UNSUPPORTED (cuvidMapVideoFrame64)
UNSUPPORTED (cuvidParseVideoData)
UNSUPPORTED (cuvidReconfigureDecoder)
UNSUPPORTED (cuvidUnmapVideoFrame)
UNSUPPORTED (cuvidUnmapVideoFrame64)
/* *INDENT-ON* */
