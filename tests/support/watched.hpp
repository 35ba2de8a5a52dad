#pragma once
// Blocks and communicators that tell a test when they are called.
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "sherd/comm/communicator.hpp"
#include "sherd/model/block.hpp"

namespace sherd::test {

/// Calls `before("forward")` or `before("backward")` ahead of the block inside.
class WatchedBlock final : public Block {
 public:
  using Before = std::function<void(std::string_view)>;
  WatchedBlock(std::unique_ptr<Block> inner, Before before)
      : inner_(std::move(inner)), before_(std::move(before)) {}
  void declare(Declare& d) const override { inner_->declare(d); }
  void forward(const Forward& f) override {
    before_("forward");
    inner_->forward(f);
  }
  void backward(const Backward& b) override {
    before_("backward");
    inner_->backward(b);
  }

 private:
  std::unique_ptr<Block> inner_;
  Before before_;
};

/// Calls `before(verb, label)` ahead of each gather and reduce-scatter.
class WatchedComm final : public comm::Communicator {
 public:
  using Before = std::function<void(comm::Verb, const comm::Label&)>;
  WatchedComm(std::unique_ptr<Communicator> inner, Before before)
      : Communicator(inner->rank(), inner->world()),
        inner_(std::move(inner)),
        before_(std::move(before)) {}

  void all_gather(View shard, View full, const comm::Label& label) override {
    before_(comm::Verb::all_gather, label);
    inner_->all_gather(shard, full, label);
  }
  void reduce_scatter(const comm::ReduceScatter& call, const comm::Label& label) override {
    before_(comm::Verb::reduce_scatter, label);
    inner_->reduce_scatter(call, label);
  }
  void all_reduce(View in, View out, const comm::Label& label) override {
    inner_->all_reduce(in, out, label);
  }
  void broadcast(View data, Rank root, const comm::Label& label) override {
    inner_->broadcast(data, root, label);
  }
  void barrier(const comm::Label& label) override { inner_->barrier(label); }
  std::unique_ptr<Communicator> split(int color) override { return inner_->split(color); }

 private:
  std::unique_ptr<Communicator> inner_;
  Before before_;
};

}  // namespace sherd::test
