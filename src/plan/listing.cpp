#include <fmt/format.h>

#include <map>

#include "plan/draft.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::plan {
namespace {

std::string subject(const Step& step) {
  switch (step.verb) {
    case Verb::feed:
      return step.subject == 0 ? "batch" : "scalars";
    case Verb::vote:
      return "";
    case Verb::decide:
      return step.subject == 0 ? "" : "report";
    case Verb::update:
    case Verb::fetch:
    case Verb::evict:
      return fmt::format("{}.{}", step.subject, step.tile);
    default:
      return std::to_string(step.subject);
  }
}

// "p.full[0] x.embed", each buffer once; parts of a buffer say how many bytes.
std::string accesses(const Program& program, const Step& step, Mode mode) {
  std::map<BufferId, Bytes> sizes;
  std::vector<BufferId> seen;
  for (const Access& access : step.accesses) {
    if (access.mode != mode) continue;
    if (sizes[access.buffer] == 0) seen.push_back(access.buffer);
    sizes[access.buffer] += access.size;
  }
  std::string text;
  for (const BufferId id : seen) {
    const Buffer& buffer = program.at(id);
    text += (text.empty() ? "" : " ") + buffer.name;
    if (sizes[id] < buffer.size) text += fmt::format(":{}", sizes[id]);
  }
  return text;
}

}  // namespace

std::string listing(const Scheduled& scheduled) {
  const Program& program = scheduled.program;
  std::vector<std::string> waits(program.steps.size());
  for (const Wait& wait : scheduled.waits)
    waits[wait.step] += fmt::format("{}{}", waits[wait.step].empty() ? "" : " ", wait.on);
  std::string text;
  for (const Phase& phase : program.phases) {
    text += fmt::format("{}: {}{}\n", program.name, phase.name,
                        phase.repeat > 1 ? fmt::format(" x {}", phase.repeat) : "");
    for (std::uint32_t i = phase.first; i < phase.last; ++i) {
      const Step& step = program.steps[i];
      text += fmt::format("{:>4} {:<8}{:<9}{:<8}", i, device::name_of(step.lane),
                          name_of(step.verb), subject(step));
      for (const auto& [letter, mode] :
           {std::pair{'r', Mode::read}, {'w', Mode::write}, {'u', Mode::update}}) {
        const std::string list = accesses(program, step, mode);
        if (!list.empty()) text += fmt::format("  {} {}", letter, list);
      }
      text += waits[i].empty() ? "\n" : fmt::format("  waits {}\n", waits[i]);
    }
  }
  return text;
}

}  // namespace sherd::plan
