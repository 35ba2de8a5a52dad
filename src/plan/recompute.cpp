#include "plan/draft.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

bool is_role(const Access& access, Role role) { return access.role == role; }

// Forward still writes the save, into memory that lives for this one step.
void drop(Program& program, Buffers& buffers, Access& access) {
  Buffer copy = program.at(access.buffer);
  copy.name = "drop." + copy.name.substr(copy.name.find('.') + 1);
  copy.name = copy.name.substr(0, copy.name.find('#'));
  access.buffer = buffers.add(std::move(copy));
}

bool has_saves(const Step& step) {
  for (const Access& access : step.accesses) {
    if (is_role(access, Role::save)) return true;
  }
  return false;
}

// `--recompute block`: a second forward of the block right before its backward; its output is
// dropped.
Step rebuild(Program& program, Buffers& buffers, const Step& forward) {
  Step again = forward;
  for (Access& access : again.accesses) {
    if (is_role(access, Role::out) || is_role(access, Role::scratch))
      drop(program, buffers, access);
  }
  return again;
}

}  // namespace

Program recompute(Program program, const Setup& setup) {
  if (setup.recompute == Recompute::none) return program;
  Buffers buffers(program);
  const std::size_t last_block = setup.model.blocks.size() - 2;
  const bool whole_block = setup.recompute == Recompute::block;
  std::vector<Step> forwards(
      setup.model.blocks.size());  // as emitted: they write the buffers that backward reads
  const auto is_cheap = [&](const Step& step, const Access& access) {
    return setup.model.blocks[step.subject].saves[access.index].keep == Keep::cheap;
  };
  rewrite(program, [&](std::size_t, std::uint32_t, const Step& old, std::vector<Step>& out) {
    Step step = old;
    if (step.verb == Verb::forward && has_saves(step)) {
      forwards[step.subject] = old;
      // The last block's backward follows at once: nothing is won by dropping.
      if (whole_block && step.subject == last_block) return out.push_back(std::move(step));
      for (Access& access : step.accesses) {
        if (is_role(access, Role::save) && (whole_block || is_cheap(step, access)))
          drop(program, buffers, access);
      }
    } else if (step.verb == Verb::backward && has_saves(step)) {
      if (whole_block && step.subject != last_block)
        out.push_back(rebuild(program, buffers, forwards[step.subject]));
      for (Access& access : step.accesses) {
        if (!whole_block && is_role(access, Role::save) && is_cheap(step, access))
          access.mode = Mode::write;  // lost
      }
    }
    out.push_back(std::move(step));
  });
  return program;
}

}  // namespace sherd::plan
