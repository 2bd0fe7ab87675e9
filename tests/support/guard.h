/* Cleans up behind a test however it ends, a crash or a kill by the test runner included: a small process of its own
 * waits until the test's process is gone or lets it go. */
#ifndef MOONRING_TESTS_GUARD_H
#define MOONRING_TESTS_GUARD_H

#include <stddef.h>

typedef void guard_cleanup_fn(const void *subject);

/* Calls cleanup(subject) in another process once the returned descriptor is closed by guard_release or by the end of
 * this process. What subject points at is as it was at this call. */
int guard_start(guard_cleanup_fn *cleanup, const void *subject);
/* Lets the cleanup happen now and waits for it. */
void guard_release(int guard);

#endif
