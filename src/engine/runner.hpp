#pragma once
// What each verb does. Arguments are bound once; a visit computes keys, calls one function and
// allocates nothing.
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "sherd/data/batch_loader.hpp"
#include "sherd/engine/engine.hpp"

namespace sherd::engine {

using Streams = std::array<device::Stream*, device::lanes>;

class Runner final : public Visitor {
 public:
  struct Parts {
    const EngineParts& engine;
    const plan::Scheduled& scheduled;
    const data::BatchLoader& loader;
    const optim::DecideConfig& decide;
    Streams streams;                             // by lane
    const device::Watch& watch;                  // called while the host waits
    const device::OpenDevice* device = nullptr;  // null: the CPU
  };
  explicit Runner(const Parts& parts);
  ~Runner() override;

  void visit(std::uint32_t step, const Moment& moment) override;
  void prepare(std::uint32_t step, const Moment& moment) override;
  void queued(std::uint32_t step) override;
  [[nodiscard]] std::string varies(std::uint32_t step) const override;

  /// On a device: the host waits for the verdict's copy in pinned memory.
  void await_verdict() const;
  optim::Fed fed;

 private:
  struct Bound;     // the accesses of a step as arguments
  struct Transfer;  // those of a fetch or an evict
  Bound bind(const plan::Step& step) const;
  [[nodiscard]] View view(const plan::Access& access, Shape shape) const;
  [[nodiscard]] View flat(const plan::Access& access) const;
  [[nodiscard]] View sent(const plan::Access& access) const;
  [[nodiscard]] std::string label_of(const plan::Step& step) const;
  void bind_access(const plan::Step& step, const plan::Access& access, Bound& bound) const;
  void bind_mirror(const plan::Access& access, Bound& bound) const;
  void bind_block(const plan::Step& step, Bound& bound) const;
  void bind_param(const plan::Step& step, const plan::Access& access, Bound& bound) const;
  [[nodiscard]] Transfer bind_transfer(const plan::Step& step) const;
  void bind_segments(const plan::Step& step, Bound& bound) const;

  [[nodiscard]] std::uint64_t leaf(const Moment& moment) const;
  void key_grads(const plan::Step& step, Bound& bound, const Moment& moment) const;
  void fill(const Batch& batch, const Moment& moment);
  void feed(const plan::Step& step, Bound& bound, const Moment& moment);
  void feed_device(const plan::Step& step, Bound& bound);
  [[nodiscard]] Philox dropout_bits(const plan::Step& step, const Moment& moment) const;
  void forward(const plan::Step& step, Bound& bound, const Moment& moment);
  void loss(const plan::Step& step, Bound& bound, const Moment& moment);
  void backward(const plan::Step& step, Bound& bound, const Moment& moment);
  void gather(const plan::Step& step, Bound& bound);
  void reduce(const plan::Step& step, Bound& bound, const Moment& moment);
  void norm(const plan::Step& step, Bound& bound);
  void vote(Bound& bound);
  void decide(const plan::Step& step, Bound& bound);
  void update(const plan::Step& step, Bound& bound);
  void widen(Bound& bound);
  void transfer(const plan::Step& step, const Transfer& transfer);
  [[nodiscard]] device::Stream& stream(plan::Lane lane) const {
    return *parts_.streams[static_cast<std::size_t>(lane)];
  }
  [[nodiscard]] device::Stream& compute() const { return stream(plan::Lane::compute); }

  Parts parts_;
  const model::ModelSpec& spec_;
  int world_;
  Rank rank_;
  bool trains_;
  std::vector<std::unique_ptr<Bound>> bound_;   // by step; null: a transfer
  std::vector<Transfer> transfers_;             // by step
  std::optional<device::Ready> fed_, verdict_;  // pinned memory was read, was written
};

}  // namespace sherd::engine
