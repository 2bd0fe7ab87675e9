/* Lua sources that are part of the program. */
#ifndef MOONRING_LUA_EMBED_H
#define MOONRING_LUA_EMBED_H

/* lua/moonring/libs.lua, and where it ends. */
extern const char embed_libs[];
extern const char embed_libs_end[];

#endif
