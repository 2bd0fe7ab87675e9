/* What a sanitizer makes slower by an order of magnitude need not be done as often there: the release build does all.
 */
#ifndef MOONRING_SUPPORT_SANITIZER_H
#define MOONRING_SUPPORT_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* From one allocation that fails to the next, where each is to fail once. */
enum { FAILURE_STEP = SANITIZED ? 7 : 1 };

#endif
