/* Looks up the addresses of a name. getaddrinfo(3) cannot be interrupted, and waits for silent name servers for as long
 * as resolv.conf(5) says, 10 s and more: so it runs on a thread of its own, which can be left behind. */
#ifndef MOONRING_PROGRAM_LOOKUP_H
#define MOONRING_PROGRAM_LOOKUP_H

#include <netdb.h>
#include <stdatomic.h>

/* 0, and *found is the caller's (freeaddrinfo); or what getaddrinfo says (gai_strerror). *give_up may become true any
 * time: then EAI_CANCELED, soon. */
int lookup_run(const char *host, const atomic_bool *give_up, struct addrinfo **found);

#endif
