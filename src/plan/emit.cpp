// The program of one rank that holds everything; other passes take it apart.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "plan/draft.hpp"
#include "sherd/optim/control.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

using model::BlockSpec;

class Emitter {
 public:
  Emitter(const Setup& setup, std::string name) : setup_(setup), buffers_(program_) {
    program_.name = std::move(name);
    const bool trains = program_.name == "train";
    vote_local_ = control("vote.local", sizeof(optim::Vote));
    vote_global_ = control("vote.global", sizeof(optim::Vote));
    if (trains) control_ = control("control", sizeof(optim::Control));
    if (!trains) report_ = control("eval.report", sizeof(optim::EvalReport));
    for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
      p_full_.push_back(persistent(bucket_name("p.full", b), Use::params, setup.formats.param,
                                   setup.layout.buckets()[b].numel));
      if (trains) training_state(b);
    }
  }

  void micro(const char* phase, Turn turn, std::uint32_t repeat = 1) {
    const bool first = starts(turn);
    begin(phase, turn, repeat);
    feed_batch();
    forward(false);
    loss(true, first);
    const std::size_t last = first_trained();
    for (std::size_t b = setup_.model.blocks.size() - 1; b-- > last;) backward(b, first);
    end();
  }

  void evaluate(const char* phase, Turn turn, std::uint32_t repeat = 1) {
    begin(phase, turn, repeat);
    feed_batch();
    forward(true);
    loss(false, false);
    end();
  }

  void updates() {
    begin("update", Turn::after);
    for (std::size_t b = 0; b < setup_.layout.buckets().size(); ++b) {
      if (!setup_.trains(b)) continue;
      Step step{Verb::update, Lane::compute, Group::none, static_cast<std::uint16_t>(b), 0, {}, 0};
      add(step, g_full_[b], Mode::read, Role::grad);
      add(step, master_[b], Mode::update, Role::master);
      for (std::size_t m = 0; m < moments_[b].size(); ++m) {
        add(step, moments_[b][m], Mode::update, m == 0 ? Role::moment1 : Role::moment2);
      }
      const bool split = setup_.formats.master_type != DType::f32;
      if (setup_.formats.master)
        add(step, p_full_[b], split ? Mode::update : Mode::write, Role::stored);
      push(std::move(step));
    }
    end();
  }

  void report() {
    begin("report", Turn::after);
    Step vote{Verb::vote, Lane::compute, Group::none, 0, 0, {}, 0};
    add(vote, vote_local_, Mode::read, Role::vote_local);
    add(vote, vote_global_, Mode::write, Role::vote_global);
    push(std::move(vote));
    Step decide{Verb::decide, Lane::compute, Group::none, 1, 0, {}, 0};
    add(decide, vote_global_, Mode::read, Role::vote_global);
    add(decide, vote_local_, Mode::write, Role::vote_local);
    add(decide, report_, Mode::write, Role::report);
    push(std::move(decide));
    end();
  }

  Program finish() { return std::move(program_); }

 private:
  // The first blocks of a network need no backward while nothing in them is trained.
  std::size_t first_trained() const {
    std::size_t block = 0;
    while (block + 1 < setup_.model.blocks.size() && !setup_.model.trains(block)) ++block;
    return block;
  }
  BufferId control(const char* name, Bytes size) {
    return buffers_.add({name, Tier::device, Use::control, DType::u8, size, true});
  }
  BufferId persistent(const std::string& name, Use use, DType type, std::uint64_t numel) {
    return buffers_.add({name, Tier::device, use, type, bytes_of(type, numel), true});
  }
  BufferId transient(std::string name, DType type, Bytes size) {
    return buffers_.add({std::move(name), Tier::device, Use::activations, type, size, false});
  }
  void training_state(std::size_t b) {
    const std::uint64_t numel = setup_.layout.buckets()[b].numel;
    const Formats& f = setup_.formats;
    if (!setup_.trains(b)) {
      g_full_.emplace_back();
      master_.emplace_back();
      moments_.emplace_back();
      return;
    }
    g_full_.push_back(persistent(bucket_name("g.full", b), Use::grads, f.grad, numel));
    master_.push_back(
        f.master ? persistent(bucket_name("master", b), Use::optimizer, f.master_type, numel)
                 : p_full_.back());
    moments_.emplace_back();
    for (int m = 0; m < f.moments; ++m) {
      moments_.back().push_back(
          persistent(bucket_name(m == 0 ? "m" : "v", b), Use::optimizer, f.moment_type, numel));
    }
  }

  void begin(const char* phase, Turn turn, std::uint32_t repeat = 1) {
    const auto first = static_cast<std::uint32_t>(program_.steps.size());
    program_.phases.push_back({phase, first, 0, repeat, Lane::compute, turn});
    outs_.clear();
    saves_.clear();
    first_writers_.assign(setup_.model.params.size(), true);
  }
  void end() { program_.phases.back().last = static_cast<std::uint32_t>(program_.steps.size()); }
  void push(Step step) { program_.steps.push_back(std::move(step)); }
  void add(Step& step, BufferId id, Mode mode, Role role, std::size_t index = 0) const {
    if (program_.at(id).size > 0) step.accesses.push_back(whole(program_, id, mode, role, index));
  }

  void feed_batch() {
    const auto rows = static_cast<Bytes>(setup_.model.rows.rows);
    const data::SampleShape& s = setup_.sample;
    inputs_ = transient("inputs", s.input_type,
                        rows * static_cast<Bytes>(s.input_cols) * size_of(s.input_type));
    labels_ = transient("labels", s.label_type,
                        rows * static_cast<Bytes>(s.label_cols) * size_of(s.label_type));
    Step step{Verb::feed, Lane::compute, Group::none, 0, 0, {}, 0};
    add(step, inputs_, Mode::write, Role::inputs);
    add(step, labels_, Mode::write, Role::labels);
    push(std::move(step));
  }

  Step block_step(Verb verb, std::size_t b) const {
    Step step{verb, Lane::compute, Group::none, static_cast<std::uint16_t>(b), 0,
              {},   flops(verb, b)};
    add(step, inputs_, Mode::read, Role::inputs);
    add(step, labels_, Mode::read, Role::labels);
    return step;
  }
  // 2 FLOPs a weight and row for each product: forward, the input's gradient, and the weight's
  // where it is trained. The first block only looks rows up.
  double flops(Verb verb, std::size_t b) const {
    const int always = verb == Verb::loss ? 2 : 1, trained = verb == Verb::forward ? 0 : 1;
    double weights = 0;
    for (const std::size_t p : setup_.model.blocks[b].params) {
      const model::ParamSpec& param = setup_.model.params[p];
      const Shape& shape = param.shape;
      if (b > 0 && shape.rows > 1 && shape.cols > 1)
        weights += static_cast<double>(shape.numel()) * (always + (param.trainable ? trained : 0));
    }
    return 2 * weights *
           static_cast<double>(std::max<std::int64_t>(setup_.model.blocks[b].in.rows, 1));
  }
  void read_params(Step& step, const BlockSpec& block, const std::vector<bool>& wanted) const {
    for (std::size_t i = 0; i < block.params.size(); ++i) {
      if (!wanted.empty() && !wanted[i]) continue;
      const shard::Slot& slot = setup_.layout.slots()[block.params[i]];
      const Bytes size = setup_.formats.param_bytes();
      // An update reaches the padding behind what is trained; behind the rest only a reader does.
      const std::uint64_t count = setup_.trains(slot.bucket) ? slot.numel : slot.padded;
      step.accesses.push_back({p_full_[slot.bucket], Mode::read, slot.offset * size, count * size,
                               Role::param, static_cast<std::uint16_t>(i)});
    }
  }
  // The first writer starts the sum and also clears the padding up to the next parameter.
  void write_grads(Step& step, const BlockSpec& block, bool first_micro) {
    for (std::size_t i = 0; i < block.params.size(); ++i) {
      const std::size_t param = block.params[i];
      if (!setup_.model.params[param].trainable) continue;
      const shard::Slot& slot = setup_.layout.slots()[param];
      const Bytes size = setup_.formats.grad_bytes();
      const bool starts = first_writers_[param] && first_micro;
      first_writers_[param] = false;
      step.accesses.push_back({g_full_[slot.bucket], starts ? Mode::write : Mode::update,
                               slot.offset * size, slot.padded * size, Role::grad,
                               static_cast<std::uint16_t>(i)});
    }
  }
  void scratch(Step& step, const std::string& name, Bytes size) {
    if (size > 0)
      add(step, transient(fmt::format("scratch.{}", name), DType::u8, size), Mode::write,
          Role::scratch);
  }

  void forward(bool drop) {
    const auto& blocks = setup_.model.blocks;
    const DType type = setup_.model.target.compute;
    for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
      const BlockSpec& block = blocks[b];
      Step step = block_step(Verb::forward, b);
      read_params(step, block, {});
      if (b > 0) add(step, outs_[b - 1], Mode::read, Role::in);
      outs_.push_back(transient(fmt::format("x.{}", block.name), type,
                                static_cast<Bytes>(block.out.numel()) * size_of(type)));
      add(step, outs_[b], Mode::write, Role::out);
      saves_.emplace_back();
      for (std::size_t s = 0; s < block.saves.size(); ++s) {
        const model::SaveSpec& save = block.saves[s];
        saves_[b].push_back(
            transient(fmt::format("{}.{}.{}", drop ? "drop" : "save", block.name, save.name),
                      save.type, save.bytes()));
        add(step, saves_[b][s], Mode::write, Role::save, s);
      }
      scratch(step, block.name, block.scratch_forward);
      push(std::move(step));
    }
  }
  void loss(bool train, bool first_micro) {
    const BlockSpec& head = setup_.model.blocks.back();
    Step step = block_step(Verb::loss, setup_.model.blocks.size() - 1);
    add(step, outs_.back(), Mode::read, Role::in);
    read_params(step, head, {});
    step.accesses.push_back({vote_local_, Mode::update, offsetof(optim::Vote, loss),
                             sizeof(kernels::LossSum), Role::vote_local, 0});
    scratch(step, "head", train ? head.scratch_backward : head.scratch_forward);
    if (train) {
      add(step, control_, Mode::read, Role::control);
      d_out_ = gradient(setup_.model.blocks.size() - 2);
      add(step, d_out_, Mode::write, Role::d_in);
      write_grads(step, head, first_micro);
    }
    push(std::move(step));
  }
  BufferId gradient(std::size_t b) {
    const BlockSpec& block = setup_.model.blocks[b];
    const DType type = setup_.model.target.compute;
    return transient(fmt::format("d.{}", block.name), type,
                     static_cast<Bytes>(block.out.numel()) * size_of(type));
  }
  void backward(std::size_t b, bool first_micro) {
    const BlockSpec& block = setup_.model.blocks[b];
    Step step = block_step(Verb::backward, b);
    read_params(step, block, block.backward_reads);
    add(step, d_out_, Mode::read, Role::d_out);
    if (b > 0) {
      if (block.save_input) add(step, outs_[b - 1], Mode::read, Role::in);
      d_out_ = gradient(b - 1);
      add(step, d_out_, Mode::write, Role::d_in);
    }
    for (std::size_t s = 0; s < block.saves.size(); ++s)
      add(step, saves_[b][s], Mode::read, Role::save, s);
    write_grads(step, block, first_micro);
    scratch(step, block.name, block.scratch_backward);
    push(std::move(step));
  }

  const Setup& setup_;
  Program program_;
  Buffers buffers_;
  BufferId control_{}, vote_local_, vote_global_, report_{}, inputs_{}, labels_{}, d_out_{};
  std::vector<BufferId> p_full_, g_full_, master_, outs_;
  std::vector<std::vector<BufferId>> moments_, saves_;
  std::vector<bool> first_writers_;
};

}  // namespace

Program emit_train(const Setup& setup) {
  Emitter emitter(setup, "train");
  const std::uint32_t accum = setup.grad_accum;
  if (accum == 1) emitter.micro("micro", Turn::only);
  if (accum > 1) emitter.micro("micro.first", Turn::first);
  if (accum > 2) emitter.micro("micro.middle", Turn::middle, accum - 2);
  if (accum > 1) emitter.micro("micro.last", Turn::last);
  emitter.updates();
  return emitter.finish();
}

Program emit_evaluate(const Setup& setup) {
  Emitter emitter(setup, "evaluate");
  emitter.evaluate("eval.first", Turn::first);
  if (setup.eval_batches > 1) emitter.evaluate("eval.rest", Turn::middle, setup.eval_batches - 1);
  emitter.report();
  return emitter.finish();
}

}  // namespace sherd::plan
