#include "sherd/plan/program.hpp"

#include <algorithm>

#include "plan/draft.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::plan {

std::string_view name_of(Role role) {
  constexpr std::string_view names[] = {
      "inputs",   "labels",       "in",         "out",         "d_in",        "d_out",
      "scratch",  "param",        "save",       "grad",        "shard",       "full",
      "control",  "report",       "vote_local", "vote_global", "inputs_host", "labels_host",
      "fed_host", "verdict_host", "master",     "m",           "v",           "stored",
      "from",     "to",           "frame"};
  return names[static_cast<std::size_t>(role)];
}

std::string_view name_of(Verb verb) {
  constexpr std::string_view names[] = {"feed",   "forward", "loss", "backward", "gather",
                                        "reduce", "norm",    "vote", "decide",   "update",
                                        "fetch",  "evict",   "widen"};
  return names[static_cast<std::size_t>(verb)];
}

bool has_buffer(const Program& program, const std::string& name) {
  return std::any_of(program.buffers.begin(), program.buffers.end(),
                     [&](const Buffer& b) { return b.name == name; });
}

BufferId find_buffer(const Program& program, const std::string& name) {
  for (std::size_t i = 0; i < program.buffers.size(); ++i) {
    if (program.buffers[i].name == name) return static_cast<BufferId>(i);
  }
  throw UsageError("plan: program " + program.name + " has no buffer " + name);
}

}  // namespace sherd::plan
