/* check() is for our own mistakes and stays on in release builds. It is never for what a peer, a script or a file can
 * cause. */
#ifndef MOONRING_BASE_CHECK_H
#define MOONRING_BASE_CHECK_H

/* Prints the place and the condition to stderr and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *function, const char *condition);

/* One condition each: the report then tells which. */
#define check(condition)                                                                                               \
    (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #condition))

#endif
