/* The page of metrics over HTTP, on a thread of its own: whoever asks too often, too slowly or for nonsense costs that
 * thread some time, and nobody else. A connection has one request: two seconds to send it, ten from then on. There are
 * EXPORTER_CLIENTS_MAX of them; who comes then takes the place of whoever has waited for longest without a request, or
 * waits in the kernel's queue when all have sent one. */
#ifndef MOONRING_PROGRAM_EXPORTER_H
#define MOONRING_PROGRAM_EXPORTER_H

#include "base/error.h"
#include "program/program.h"

enum { EXPORTER_CLIENTS_MAX = 16 };

struct exporter;

/* Binds, listens, and makes the thread, which waits. thread_begins: called first on it, to give up rights that its
 * maker has; NULL: nothing. NULL: the error says why. On the control thread, as all of these. */
struct exporter *exporter_create(struct program *program, const struct config_bind *bind, void (*thread_begins)(void),
                                 struct error *error);
/* It answers from now on. Once. */
void exporter_begin(struct exporter *exporter);
/* It was made for that address. */
bool exporter_is_for(const struct exporter *exporter, const struct config_bind *bind);
/* Where it listens. All zero for NULL. */
struct address exporter_address(const struct exporter *exporter);
/* Ends the thread, whoever is connected. NULL is fine. */
void exporter_destroy(struct exporter *exporter);

#endif
