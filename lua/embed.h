/* Lua sources that are part of the program. */
#ifndef MOONRING_LUA_EMBED_H
#define MOONRING_LUA_EMBED_H

/* lua/moonring/libs.lua, and where it ends. */
extern const char embed_libs[];
extern const char embed_libs_end[];

/* The same of values.lua, params.lua, meter.lua. */
extern const char embed_values[];
extern const char embed_values_end[];
extern const char embed_params[];
extern const char embed_params_end[];
extern const char embed_meter[];
extern const char embed_meter_end[];

/* task.lua, conn.lua. */
extern const char embed_task[];
extern const char embed_task_end[];
extern const char embed_conn[];
extern const char embed_conn_end[];

extern const char embed_view[];
extern const char embed_view_end[];
extern const char embed_frames[];
extern const char embed_frames_end[];
extern const char embed_protocols[];
extern const char embed_protocols_end[];

#endif
