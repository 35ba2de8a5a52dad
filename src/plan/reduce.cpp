#include <vector>

#include "plan/draft.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

class Reducer {
 public:
  Reducer(Program& program, const Setup& setup)
      : program_(program),
        setup_(setup),
        buffers_(program),
        count_(setup.layout.buckets().size()),
        accumulate_(setup.reduce_every_micro && setup.grad_accum > 1) {}

  void run() {
    find_writers();
    // A full gradient persists where no stage shards it, or where micro-steps add up before one
    // reduce.
    const bool keep_full =
        !setup_.shard_grads || (setup_.grad_accum > 1 && !setup_.reduce_every_micro);
    const bool separate_shard = accumulate_ || !keep_full;
    for (std::size_t b = 0; b < count_; ++b) {
      const bool trains = setup_.trains(b);
      full_.push_back(trains ? find_buffer(program_, bucket_name("g.full", b)) : BufferId{});
      full_bytes_.push_back(trains ? program_.at(full_[b]).size : 0);
      if (!separate_shard) continue;
      if (trains)
        add_shard(b, keep_full);
      else
        shard_.emplace_back();
    }
    copies_ = full_;
    made_.assign(count_, {program_.phases.size(), 0});
    rewrite(program_,
            [&](std::size_t phase, std::uint32_t index, const Step& old, std::vector<Step>& out) {
              Step step = old;
              if (step.verb == Verb::update) {
                if (!shard_.empty() && (setup_.shard_optimizer || setup_.world() == 1))
                  redirect_update(step);
                return out.push_back(std::move(step));
              }
              for (Access& access : step.accesses) {
                if (access.role == Role::grad) write_grad(phase, index, step, access, keep_full);
              }
              out.push_back(std::move(step));
              reduce_after(phase, index, out);
            });
  }

 private:
  std::size_t bucket_of(const Step& step, const Access& access) const {
    return setup_.layout.slots()[setup_.model.blocks[step.subject].params[access.index]].bucket;
  }
  // For each phase and bucket: its first and last writer, and for each parameter its first.
  void find_writers() {
    for (const Phase& phase : program_.phases) {
      first_.emplace_back(count_, program_.steps.size());
      last_.emplace_back(count_, program_.steps.size());
      first_of_param_.emplace_back(setup_.model.params.size(), program_.steps.size());
      for (std::uint32_t i = phase.first; i < phase.last; ++i) {
        const Step& step = program_.steps[i];
        if (step.verb != Verb::backward && step.verb != Verb::loss) continue;
        for (const Access& access : step.accesses) {
          if (access.role != Role::grad) continue;
          const std::size_t b = bucket_of(step, access), none = program_.steps.size();
          if (first_.back()[b] == none) first_.back()[b] = i;
          last_.back()[b] = i;
          std::size_t& first =
              first_of_param_.back()[setup_.model.blocks[step.subject].params[access.index]];
          if (first == none) first = i;
        }
      }
    }
  }
  void add_shard(std::size_t b, bool keep_full) {
    const Bytes size = full_bytes_[b] / static_cast<Bytes>(setup_.world());
    if (keep_full) {
      shard_.push_back(buffers_.add(
          {bucket_name("g.shard", b), Tier::device, Use::grads, setup_.formats.grad, size, true}));
    } else {  // only the shard persists; whole gradients come and go with each micro-step
      shrink(program_, full_[b], bucket_name("g.shard", b), size);
      shard_.push_back(full_[b]);
    }
  }
  void write_grad(std::size_t phase, std::uint32_t index, const Step& step, Access& access,
                  bool keep_full) {
    const std::size_t b = bucket_of(step, access);
    if (!keep_full) {
      const std::pair here{phase, index};
      if (first_[phase][b] == index && made_[b] != here) {
        made_[b] = here;
        copies_[b] = buffers_.add({bucket_name("g.full", b), Tier::device, Use::grads,
                                   setup_.formats.grad, full_bytes_[b], false});
      }
      access.buffer = copies_[b];
    }
    // What was reduced starts anew in each micro-step.
    const std::size_t param = setup_.model.blocks[step.subject].params[access.index];
    if (setup_.reduce_every_micro)
      access.mode = first_of_param_[phase][param] == index ? Mode::write : Mode::update;
  }
  bool reduces_in(std::size_t phase) const {
    const Turn turn = program_.phases[phase].turn;
    return turn != Turn::after && (setup_.reduce_every_micro || ends(turn));
  }
  void reduce_after(std::size_t phase, std::uint32_t index, std::vector<Step>& out) {
    if (!reduces_in(phase) || (setup_.world() == 1 && !accumulate_)) return;
    const Turn turn = program_.phases[phase].turn;
    for (std::size_t b = 0; b < count_; ++b) {
      if (last_[phase][b] != index) continue;
      out.push_back(reduce_step(b, starts(turn) || !accumulate_));
      if (ends(turn) && !setup_.shard_optimizer && setup_.world() > 1)
        out.push_back(spread_step(b));
    }
  }
  Step reduce_step(std::size_t b, bool starts) const {
    const bool alone = setup_.world() == 1;
    Step step{Verb::reduce,
              alone ? Lane::compute : Lane::net,
              alone ? Group::none : Group::data,
              static_cast<std::uint16_t>(b),
              0,
              {},
              static_cast<double>(full_bytes_[b])};
    if (shard_.empty()) {
      step.accesses.push_back(whole(program_, copies_[b], Mode::update, Role::full));
    } else {
      step.accesses.push_back(whole(program_, copies_[b], Mode::read, Role::full));
      step.accesses.push_back(
          whole(program_, shard_[b], starts ? Mode::write : Mode::update, Role::shard));
    }
    return step;
  }
  // Stage 0 updates everything everywhere, so the reduced gradient goes back to all ranks.
  Step spread_step(std::size_t b) const {
    Step step{Verb::gather,
              Lane::net,
              Group::data,
              static_cast<std::uint16_t>(b),
              0,
              {},
              static_cast<double>(full_bytes_[b])};
    if (!shard_.empty())
      step.accesses.push_back(whole(program_, shard_[b], Mode::read, Role::shard));
    step.accesses.push_back(
        whole(program_, full_[b], shard_.empty() ? Mode::update : Mode::write, Role::full));
    return step;
  }
  void redirect_update(Step& step) const {
    for (Access& access : step.accesses) {
      if (access.role == Role::grad)
        access = whole(program_, shard_[step.subject], Mode::read, Role::grad);
    }
  }

  Program& program_;
  const Setup& setup_;
  Buffers buffers_;
  std::size_t count_;
  bool accumulate_;
  std::vector<BufferId> full_, shard_, copies_;
  std::vector<Bytes> full_bytes_;
  std::vector<std::vector<std::size_t>> first_, last_, first_of_param_;
  std::vector<std::pair<std::size_t, std::uint32_t>>
      made_;  // phase and step of a bucket's newest copy
};

}  // namespace

Program reduce(Program program, const Setup& setup) {
  Reducer(program, setup).run();
  return program;
}

}  // namespace sherd::plan
