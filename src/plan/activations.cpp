// `--offload-activations host`: what one block hands to the next waits for backward on the host.
#include <optional>

#include "plan/copies.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

// Fewer steps of compute between the last use in forward and the first in backward leave no time to
// go and come back.
constexpr std::size_t worth_leaving = 4;

/// Uses of an activation around the loss.
struct Uses {
  std::optional<std::uint32_t> last_before, first_after;
};

class Parking {
 public:
  Parking(Program& program, const Setup& setup)
      : program_(program), setup_(setup), buffers_(program), copies_(program, buffers_) {}

  void run() {
    const std::vector<Uses> uses = uses_around_the_loss();
    parked_.resize(uses.size());
    for (std::size_t b = 0; b < uses.size(); ++b) {
      if (is_handed_on(program_.buffers[b]) && leaves(uses[b])) park(static_cast<BufferId>(b));
    }
    rewrite(program_,
            [&](std::size_t, std::uint32_t index, const Step& old, std::vector<Step>& out) {
              Step step = old;
              for (Access& access : step.accesses) {
                const std::size_t b = index_of(access.buffer);
                if (b >= parked_.size() || !parked_[b]) continue;
                Parked& parked = *parked_[b];
                if (index == uses[b].first_after) out.push_back(parked.fetch);
                if (index >= *uses[b].first_after) access.buffer = parked.copy;
              }
              const std::vector<Access> accesses = step.accesses;
              out.push_back(std::move(step));
              for (const Access& access : accesses) {
                const std::size_t b = index_of(access.buffer);
                if (b < parked_.size() && parked_[b] && index == uses[b].last_before)
                  out.push_back(parked_[b]->evict);
              }
            });
  }

 private:
  struct Parked {
    BufferId copy{};
    Step evict, fetch;
  };

  // What a block put out and the next one took in.
  static bool is_handed_on(const Buffer& buffer) {
    return !buffer.persistent && buffer.tier == Tier::device && buffer.name.starts_with("x.");
  }
  std::vector<Uses> uses_around_the_loss() {
    std::vector<Uses> uses(program_.buffers.size());
    for (const Phase& phase : program_.phases) {
      bool after = false;
      for (std::uint32_t i = phase.first; i < phase.last; ++i) {
        const Step& step = program_.steps[i];
        for (const Access& access : step.accesses) {
          Uses& of = uses[index_of(access.buffer)];
          if (!after) of.last_before = i;
          if (after && !of.first_after) of.first_after = i;
        }
        after = after || step.verb == Verb::loss;
      }
    }
    return uses;
  }
  bool leaves(const Uses& uses) const {
    if (!uses.last_before || !uses.first_after) return false;
    std::size_t between = 0;
    for (std::uint32_t i = *uses.last_before + 1; i < *uses.first_after; ++i)
      between += program_.steps[i].lane == Lane::compute ? 1U : 0U;
    return between >= worth_leaving;
  }
  void park(BufferId id) {
    const Buffer was = program_.at(id);
    const std::string name = was.name.substr(0, was.name.find('#'));
    const BufferId away =
        buffers_.add({name + ".host", setup_.host_tier(), was.use, was.type, was.size, false});
    const BufferId copy = buffers_.add({name, Tier::device, was.use, was.type, was.size, false});
    const Spot here{id, 0, was.size}, there{away, 0, was.size}, again{copy, 0, was.size};
    parked_[index_of(id)] = Parked{copy, copies_.copy(Verb::evict, here, there, {}),
                                   copies_.copy(Verb::fetch, there, again, {})};
  }

  Program& program_;
  const Setup& setup_;
  Buffers buffers_;
  Copies copies_;
  std::vector<std::optional<Parked>> parked_;  // by buffer
};

}  // namespace

Program activations(Program program, const Setup& setup) {
  if (setup.homes.parks_activations) Parking(program, setup).run();
  return program;
}

}  // namespace sherd::plan
