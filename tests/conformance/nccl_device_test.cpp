// comm::nccl over a fake libnccl, on streams that complete later: after every call the host waits
// as an engine does, watching.
#include "conformance/communicator_faults.hpp"
#include "conformance/communicator_suite.hpp"
#include "support/fake_nccl/nccl_ranks.hpp"

namespace conformance {
namespace {

class Settled final : public Communicator {
 public:
  Settled(std::unique_ptr<Communicator> child, Communicator& inner, const fake_nccl::NcclRank& seat)
      : Communicator(inner.rank(), inner.world()),
        child_(std::move(child)),
        inner_(inner),
        seat_(seat) {}

  void all_gather(View shard, View full, const comm::Label& label) override {
    settle([&] { inner_.all_gather(shard, full, label); });
  }
  void reduce_scatter(const comm::ReduceScatter& call, const comm::Label& label) override {
    settle([&] { inner_.reduce_scatter(call, label); });
  }
  void all_reduce(View in, View out, const comm::Label& label) override {
    settle([&] { inner_.all_reduce(in, out, label); });
  }
  void broadcast(View data, Rank root, const comm::Label& label) override {
    settle([&] { inner_.broadcast(data, root, label); });
  }
  void barrier(const comm::Label& label) override { inner_.barrier(label); }
  void watch() override { inner_.watch(); }
  std::unique_ptr<Communicator> split(int color) override {
    auto child = inner_.split(color);
    Communicator& at = *child;
    return std::make_unique<Settled>(std::move(child), at, seat_);
  }

 private:
  template <class Call>
  void settle(const Call& call) {
    call();
    while (!seat_.idle()) {
      inner_.watch();
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    inner_.watch();
    traffic_ = inner_.traffic();
  }

  std::unique_ptr<Communicator> child_;  // nothing for the run's own group
  Communicator& inner_;
  const fake_nccl::NcclRank& seat_;
};

}  // namespace

std::vector<std::string> run_ranks(const Trial& trial, const Body& body) {
  fake_nccl::fake_nccl_reset();
  const auto with = [&](fake_nccl::NcclRank& rank) {
    Settled settled(nullptr, rank.comm, rank);
    Seat seat{settled,
              rank.arena,
              rank.control,
              {.left_order = false, .random_rounding = false, .one_rounding = false}};
    body(seat);
  };
  const auto thrown = fake_nccl::run({.world = trial.world,
                                      .place = fake_nccl::Place::device,
                                      .timeout = trial.timeout,
                                      .arena = trial.arena},
                                     {.with = with});
  CHECK(fake_nccl::fake_nccl_communicators() == 0);
  return thrown;
}

}  // namespace conformance
