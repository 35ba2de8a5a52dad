#pragma once
// Lets the communicator suite, which fills and reads plain memory, drive a communicator whose
// arena is a device's: operands go up before a call and come back after it.
#include <algorithm>
#include <memory>
#include <utility>

#include "sherd/comm/communicator.hpp"
#include "sherd/device/stream.hpp"

namespace conformance {

/// The same arena on both sides.
struct Mirrored {
  std::span<std::byte> host, device;
  sherd::device::Stream* stream;
};

class DeviceMirror final : public sherd::comm::Communicator {
 public:
  using View = sherd::View;
  using Label = sherd::comm::Label;
  using ReduceScatter = sherd::comm::ReduceScatter;

  DeviceMirror(std::unique_ptr<Communicator> inner, const Mirrored& arena)
      : Communicator(inner->rank(), inner->world()), inner_(std::move(inner)), arena_(arena) {}

  void all_gather(View shard, View full, const Label& label) override {
    around({shard, full}, [&] { inner_->all_gather(there(shard), there(full), label); });
  }
  void reduce_scatter(const ReduceScatter& call, const Label& label) override {
    ReduceScatter own = call;
    own.full = there(call.full);
    own.shard = there(call.shard);
    around({call.full, call.shard}, [&] { inner_->reduce_scatter(own, label); });
  }
  void all_reduce(View in, View out, const Label& label) override {
    around({in, out}, [&] { inner_->all_reduce(there(in), there(out), label); });
  }
  void broadcast(View data, sherd::Rank root, const Label& label) override {
    around({data}, [&] { inner_->broadcast(there(data), root, label); });
  }
  void barrier(const Label& label) override { inner_->barrier(label); }
  std::unique_ptr<Communicator> split(int color) override {
    return std::make_unique<DeviceMirror>(inner_->split(color), arena_);
  }

 private:
  [[nodiscard]] View there(View view) const {
    const auto offset = reinterpret_cast<std::uintptr_t>(view.data) -
                        reinterpret_cast<std::uintptr_t>(arena_.host.data());
    view.data = reinterpret_cast<std::byte*>(
        reinterpret_cast<std::uintptr_t>(arena_.device.data()) + offset);
    return view;
  }
  [[nodiscard]] bool is_inside(const View& view) const {
    const auto* first = arena_.host.data();
    return view.bytes() > 0 && view.data >= first &&
           view.data + view.bytes() <= first + arena_.host.size();
  }
  template <class Call>
  void around(std::initializer_list<View> operands, Call&& call) {
    for (const View& view : operands) {
      if (is_inside(view)) sherd::device::copy(there(view).raw(), view.raw(), *arena_.stream);
    }
    settle();
    call();
    traffic_ = inner_->traffic();
    for (const View& view : operands) {
      if (is_inside(view)) sherd::device::copy(view.raw(), there(view).raw(), *arena_.stream);
    }
    settle();
  }
  void settle() const {
    const sherd::AbortWord never{};  // a dead group is the inner communicator's to tell
    sherd::device::block(*arena_.stream, never);
  }

  std::unique_ptr<Communicator> inner_;
  Mirrored arena_;
};

}  // namespace conformance
