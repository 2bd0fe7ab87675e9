/* What the kernel's io_uring interface has and Debian 12's liburing 2.3 does not name. Values from
 * include/uapi/linux/io_uring.h of Linux 6.18. Included by ring.c only. */
#ifndef MOONRING_ENGINE_URING_H
#define MOONRING_ENGINE_URING_H

#include <liburing.h>

#ifndef IORING_RECVSEND_BUNDLE
#define IORING_RECVSEND_BUNDLE (1U << 4)
#endif
#ifndef IORING_SEND_VECTORIZED
#define IORING_SEND_VECTORIZED (1U << 5)
#endif
#ifndef IORING_FEAT_RECVSEND_BUNDLE
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)
#endif

#endif
