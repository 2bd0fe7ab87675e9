/* Small web servers to try moonring with, so that the first minute needs no other software. One thread serves all of
 * them; each answers every path with a line that tells which one it is:
 *
 *     hello from server A (127.0.0.1:9001), request 1
 *
 * They speak enough HTTP/1.1 for curl, browsers and load generators: GET and HEAD, keep-alive, pipelining; no bodies.
 */
#ifndef MOONRING_PROGRAM_DEMO_SERVER_H
#define MOONRING_PROGRAM_DEMO_SERVER_H

#include "base/address.h"
#include "base/error.h"
#include "program/arguments.h"

#include <stdbool.h>
#include <stddef.h>

enum { DEMO_SERVERS_MAX = 26, DEMO_CLIENTS_MAX = 256 };

struct demo_server;

/* Listens on 1 to DEMO_SERVERS_MAX addresses; port 0: any free one. NULL: the error says which address and why. */
struct demo_server *demo_server_create(const struct address *addresses, size_t count, struct error *error);
/* NULL is fine. */
void demo_server_destroy(struct demo_server *demo);

/* Where the server of that index listens; valid as long as the demo server. */
const struct address *demo_server_address(const struct demo_server *demo, size_t index);

/* Serves until stop_fd is readable. False when poll(2) fails. */
bool demo_server_serve(struct demo_server *demo, int stop_fd, struct error *error);

/* `moonring demo-server`: serves until SIGTERM or SIGINT; with a wrapped command until that ends, which then gives the
 * exit status (128 + the signal's number when one ended it). SIGTERM is passed on to it, SIGINT reaches it from the
 * terminal. Returns the exit status of the process; messages go to stderr. */
int demo_server_main(const struct arguments *arguments);

#endif
