#pragma once
// Communicators that misbehave on purpose.
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>

#include "sherd/comm/communicator.hpp"
#include "sherd/comm/control_block.hpp"

namespace sherd::support {

/// Calls `before(n)` ahead of collective n = 1, 2, … of the communicator inside; groups split off
/// it share the count's rule, not the count. `watched` is called by every watch.
class FaultyComm final : public comm::Communicator {
 public:
  using Before = std::function<void(int)>;
  using Watched = std::function<void()>;
  FaultyComm(std::unique_ptr<Communicator> inner, Before before, Watched watched = {})
      : Communicator(inner->rank(), inner->world()),
        inner_(std::move(inner)),
        before_(std::move(before)),
        watched_(std::move(watched)) {}

  void all_gather(View shard, View full, const comm::Label& label) override {
    run([&] { inner_->all_gather(shard, full, label); });
  }
  void reduce_scatter(const comm::ReduceScatter& call, const comm::Label& label) override {
    run([&] { inner_->reduce_scatter(call, label); });
  }
  void all_reduce(View in, View out, const comm::Label& label) override {
    run([&] { inner_->all_reduce(in, out, label); });
  }
  void broadcast(View data, Rank root, const comm::Label& label) override {
    run([&] { inner_->broadcast(data, root, label); });
  }
  void barrier(const comm::Label& label) override {
    run([&] { inner_->barrier(label); });
  }
  void watch() override {
    if (watched_) watched_();
    inner_->watch();
  }
  std::unique_ptr<Communicator> split(int color) override {
    std::unique_ptr<Communicator> child;
    run([&] { child = inner_->split(color); });
    return std::make_unique<FaultyComm>(std::move(child), before_);
  }

 private:
  template <class Call>
  void run(Call&& call) {
    before_(++count_);
    call();
    traffic_ = inner_->traffic();
  }

  std::unique_ptr<Communicator> inner_;
  Before before_;
  Watched watched_;
  int count_ = 0;
};

/// Every collective starts late by `delay` on this rank: results may not depend on it.
inline std::unique_ptr<comm::Communicator> delayed_comm(std::unique_ptr<comm::Communicator> inner,
                                                        std::chrono::nanoseconds delay) {
  return std::make_unique<FaultyComm>(std::move(inner),
                                      [delay](int) { std::this_thread::sleep_for(delay); });
}

/// The rank fails at its collective `at`, as code that throws between two collectives does.
inline std::unique_ptr<comm::Communicator> throwing_peer(std::unique_ptr<comm::Communicator> inner,
                                                         int at) {
  return std::make_unique<FaultyComm>(std::move(inner), [at](int n) {
    if (n == at) throw std::runtime_error("died on purpose");
  });
}

/// The rank stays away from its collective `at` until the others have given up on it.
inline std::unique_ptr<comm::Communicator> hanging_peer(std::unique_ptr<comm::Communicator> inner,
                                                        int at, const comm::ControlBlock& control) {
  return std::make_unique<FaultyComm>(std::move(inner), [at, &control](int n) {
    while (n >= at && !control.abort.is_set()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
}

}  // namespace sherd::support
