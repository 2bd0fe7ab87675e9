/* The examples with filters, as they are: each test has a network of its own, where the ports that an example names are
 * free, and starts there the real servers that the example expects. */
#ifndef MOONRING_TESTS_SCENARIO_EXAMPLE_WORLD_H
#define MOONRING_TESTS_SCENARIO_EXAMPLE_WORLD_H

#include "tests/support/moonring.h"

struct world {
    struct temporary folder; /* for files of servers and clients */
    struct moonring moonring;
};

/* Takes this test into a network of its own: from here on it and what it starts have 127.0.0.1 to themselves. */
void world_enter(struct world *world);
/* Starts moonring with examples/NAME and waits until it is ready. */
void world_start(struct world *world, const char *name);

/* Servers, which accept connections when these return. */
void world_start_redis(struct world *world, struct process *server, const char *port);
/* `http` stands in the configuration's section of that name. */
void world_start_nginx(struct world *world, struct process *server, const char *http, const char *address);
/* Lets the user in whose key is the file user_key in the world's folder, as root. */
void world_start_sshd(struct world *world, struct process *server, const char *port);
/* openssl s_server with a certificate for `name`. */
void world_start_tls(struct world *world, struct process *server, const char *name, const char *port);

/* Makes NAME.crt and NAME.key in the world's folder: a certificate that nobody has signed. */
void world_make_certificate(struct world *world, const char *name);

/* What a shell command writes, which must succeed. It runs in the world's folder. */
const char *world_run(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
