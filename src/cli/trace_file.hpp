#pragma once
// `--trace`: what each lane of rank 0 did when, for chrome://tracing and Perfetto.
#include <string>

#include "sherd/engine/trace.hpp"
#include "sherd/plan/setup.hpp"

namespace sherd::cli {

/// Replaces `path` at once. **Errors** DataError when it cannot be written.
void write_trace(const std::string& path, const engine::Trace& trace, const plan::Setup& setup);

}  // namespace sherd::cli
