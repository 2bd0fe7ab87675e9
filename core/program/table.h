/* Tables for people: lines whose cells are separated by tabs come out in columns. */
#ifndef MOONRING_PROGRAM_TABLE_H
#define MOONRING_PROGRAM_TABLE_H

#include "base/bytes.h"

enum { TABLE_COLUMNS_MAX = 32 };

/* Appends the text (lines, ended by newlines). Neighbouring lines with tabs are a table: each column is as wide as its
 * widest cell, numbers stand to the right. Lines without tabs stay as they are. */
void table_align(const char *text, struct bytes *out);

#endif
