#pragma once
// How passes write programs: new buffers with unique names, and step-by-step rewriting that keeps
// phases.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sherd/plan/program.hpp"

namespace sherd::plan {

/// Appends buffers; a name used before gets "#1", "#2", …
class Buffers {
 public:
  explicit Buffers(Program& program) : program_(program) {
    for (const Buffer& buffer : program.buffers)
      ++copies_[buffer.name.substr(0, buffer.name.find('#'))];
  }
  BufferId add(Buffer buffer) {
    const int copy = copies_[buffer.name]++;
    if (copy > 0) buffer.name += "#" + std::to_string(copy);
    program_.buffers.push_back(std::move(buffer));
    return static_cast<BufferId>(program_.buffers.size() - 1);
  }

 private:
  Program& program_;
  std::map<std::string, int> copies_;
};

/// Access to all of a buffer.
[[nodiscard]] inline Access whole(const Program& program, BufferId id, Mode mode, Role role,
                                  std::size_t index = 0) {
  return {id, mode, 0, program.at(id).size, role, static_cast<std::uint16_t>(index)};
}
[[nodiscard]] inline bool reads(const Access& access) { return access.mode != Mode::write; }
[[nodiscard]] inline bool writes(const Access& access) { return access.mode != Mode::read; }

/// Replaces each step by what `visit(phase, step, out)` appends to `out`; phases keep their names
/// and repeats.
template <class Visit>
void rewrite(Program& program, Visit&& visit) {
  std::vector<Step> steps;
  const std::vector<Step> old = std::exchange(program.steps, {});
  for (std::size_t phase = 0; phase < program.phases.size(); ++phase) {
    Phase& p = program.phases[phase];
    const auto first = static_cast<std::uint32_t>(steps.size());
    for (std::uint32_t i = p.first; i < p.last; ++i) visit(phase, i, old[i], steps);
    p.first = first;
    p.last = static_cast<std::uint32_t>(steps.size());
  }
  program.steps = std::move(steps);
}

/// Renames and resizes a persistent buffer; updates that took all of it take all of what is left.
/// Blocks that did so keep their size: theirs is a parameter that fills its bucket, not the bucket.
inline void shrink(Program& program, BufferId id, std::string name, Bytes size) {
  Buffer& buffer = program.at(id);
  for (Step& step : program.steps) {
    if (step.verb != Verb::update) continue;
    for (Access& access : step.accesses) {
      if (access.buffer == id && access.size == buffer.size) access.size = size;
    }
  }
  buffer.name = std::move(name);
  buffer.size = size;
}

}  // namespace sherd::plan
