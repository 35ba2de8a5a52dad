#include <algorithm>
#include <cstddef>

#include "plan/draft.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/optim/control.hpp"
#include "sherd/plan/passes.hpp"
#include "sherd/plan/tiles.hpp"

namespace sherd::plan {
namespace {

using shard::Range;

class Updater {
 public:
  Updater(Program& program, const Setup& setup) : program_(program), setup_(setup) {}

  void run() {
    for (std::size_t b = 0; b < setup_.layout.buckets().size(); ++b) {
      if (setup_.shard_optimizer) shrink_states(b);
    }
    const std::vector<std::uint32_t> norm_after = last_sums();
    bool decided = false;
    rewrite(program_,
            [&](std::size_t, std::uint32_t index, const Step& step, std::vector<Step>& out) {
              if (step.verb == Verb::update) {
                if (!decided) verdict(out);
                decided = true;
                return tiles(step, out);
              }
              out.push_back(step);
              for (std::size_t b = 0; b < norm_after.size(); ++b) {
                if (setup_.trains(b) && norm_after[b] == index) out.push_back(norm(step, b));
              }
            });
  }

 private:
  void shrink_states(std::size_t b) {
    for (const char* kind : {"master", "m", "v"}) {
      const std::string name = bucket_name(kind, b);
      if (!has_buffer(program_, name)) continue;
      const BufferId id = find_buffer(program_, name);
      shrink(program_, id, name, program_.at(id).size / static_cast<Bytes>(setup_.world()));
    }
  }

  // The step after which a bucket's gradient is final: its last reduce, or its last writer where
  // nothing is reduced.
  std::vector<std::uint32_t> last_sums() const {
    std::vector<std::uint32_t> last(setup_.layout.buckets().size(), 0);
    for (std::uint32_t i = 0; i < program_.steps.size(); ++i) {
      const Step& step = program_.steps[i];
      if (step.verb == Verb::reduce) last[step.subject] = i;
      if (step.verb != Verb::backward && step.verb != Verb::loss) continue;
      for (const Access& access : step.accesses) {
        if (access.role == Role::grad)
          last[setup_.layout.slots()[setup_.model.blocks[step.subject].params[access.index]]
                   .bucket] = i;
      }
    }
    return last;
  }

  Step norm(const Step& after, std::size_t b) const {
    const Range own = setup_.layout.shard(b, setup_.rank);
    Step step{Verb::norm,
              after.lane,
              Group::none,
              static_cast<std::uint16_t>(b),
              0,
              {},
              static_cast<double>(own.count * setup_.formats.grad_bytes())};
    const std::string shard = bucket_name("g.shard", b);
    const BufferId grads =
        find_buffer(program_, has_buffer(program_, shard) ? shard : bucket_name("g.full", b));
    step.accesses.push_back(part(grads, own, own, Mode::read, Role::grad));
    step.accesses.push_back({find_buffer(program_, "vote.local"), Mode::update,
                             offsetof(optim::Vote, norm), sizeof(kernels::NormSum),
                             Role::vote_local, 0});
    return step;
  }

  // Elements `wanted` of the bucket in a buffer that holds either the whole bucket or just `owned`.
  Access part(BufferId id, Range owned, Range wanted, Mode mode, Role role) const {
    const Buffer& buffer = program_.at(id);
    const bool only_owned = buffer.size == bytes_of(buffer.type, owned.count);
    const std::uint64_t first = only_owned ? wanted.first - owned.first : wanted.first;
    return {id, mode, bytes_of(buffer.type, first), bytes_of(buffer.type, wanted.count), role, 0};
  }

  void verdict(std::vector<Step>& out) const {
    const bool alone = setup_.world() == 1;
    const BufferId control = find_buffer(program_, "control");
    const BufferId local = find_buffer(program_, "vote.local"),
                   global = find_buffer(program_, "vote.global");
    Step feed{Verb::feed, Lane::compute, Group::none, 1, 0, {}, 0};
    feed.accesses.push_back(whole(program_, control, Mode::update, Role::control));
    feed.accesses.push_back({local, Mode::write, offsetof(optim::Vote, wishes),
                             sizeof(optim::Vote::wishes), Role::vote_local, 0});
    Step vote{Verb::vote,
              alone ? Lane::compute : Lane::net,
              alone ? Group::none : Group::data,
              0,
              0,
              {},
              static_cast<double>(program_.at(local).size)};
    vote.accesses.push_back(whole(program_, local, Mode::read, Role::vote_local));
    vote.accesses.push_back(whole(program_, global, Mode::write, Role::vote_global));
    Step decide{Verb::decide, Lane::compute, Group::none, 0, 0, {}, 0};
    decide.accesses.push_back(whole(program_, global, Mode::read, Role::vote_global));
    decide.accesses.push_back(whole(program_, control, Mode::update, Role::control));
    decide.accesses.push_back(whole(program_, local, Mode::write, Role::vote_local));
    out.push_back(std::move(feed));
    out.push_back(std::move(vote));
    out.push_back(std::move(decide));
  }

  void tiles(const Step& update, std::vector<Step>& out) const {
    const std::size_t b = update.subject;
    const Range owned = setup_.held(b);
    std::uint32_t number = 0;
    for (const Tile& tile : tiles_of(setup_, b, owned)) {
      Step step{Verb::update, update.lane, Group::none, update.subject,
                number++,     {},          0,           tile.range};
      for (const Access& access : update.accesses) {
        step.accesses.push_back(part(access.buffer, owned, tile.range, access.mode, access.role));
        step.work +=
            static_cast<double>(step.accesses.back().size) * (access.mode == Mode::update ? 2 : 1);
      }
      step.accesses.push_back(
          whole(program_, find_buffer(program_, "control"), Mode::read, Role::control));
      out.push_back(std::move(step));
    }
  }

  Program& program_;
  const Setup& setup_;
};

// The vote of an evaluation spans the ranks too.
void spread_report(Program& program, const Setup& setup) {
  if (setup.world() == 1) return;
  for (Step& step : program.steps) {
    if (step.verb != Verb::vote) continue;
    step.lane = Lane::net;
    step.group = Group::data;
  }
}

}  // namespace

Program update(Program program, const Setup& setup) {
  if (program.name == "train") {
    Updater(program, setup).run();
  } else {
    spread_report(program, setup);
  }
  return program;
}

}  // namespace sherd::plan
