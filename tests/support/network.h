/* A network of the test's own, for what has to be at a given address: no other test, and no program of the machine, is
 * in its way. */
#ifndef MOONRING_TESTS_SUPPORT_NETWORK_H
#define MOONRING_TESTS_SUPPORT_NETWORK_H

/* From here on the test and what it starts have 127.0.0.0/8 and every port to themselves. Needs root, and to be called
 * before the first socket is opened. */
void network_enter(void);

#endif
