#pragma once
// A transfer that goes wrong once, as disks do, or waits: between a RecordFile and an engine.
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::test {

enum class TransferFault {
  none,
  fail_read,   // DeviceError with the words of EIO; nothing moved
  fail_write,  // the same with ENOSPC
  flip_read,   // one bit of what is read, at `place`
  flip_write,  // one bit of what is in the file afterwards, at `place`
  tear_write,  // only what is before `place`, a whole number of blocks, reaches the file
  drop_write,  // nothing does
  move_write   // it reaches the file `place` bytes further on
};

struct FaultPlan {
  TransferFault fault = TransferFault::none;
  int nth = 1;                           // call of its direction
  Bytes place = 0;                       // from the begin of the call
  std::function<void()> before = [] {};  // every call: to wait, to count
};

/// **Order** the inner transfer sees whole calls, so its engine is at work in all of them.
class FaultyTransfer final : public io::Transfer {
 public:
  FaultyTransfer(std::unique_ptr<io::Transfer> inner, FaultPlan plan)
      : inner_(std::move(inner)), plan_(std::move(plan)) {}

  void read(Bytes offset, std::span<std::byte> into, io::Passing* passing) override {
    plan_.before();
    const bool now = ++reads_ == plan_.nth;
    if (now && plan_.fault == TransferFault::fail_read)
      throw DeviceError("cannot be read at byte " + std::to_string(offset) +
                        " (Input/output error)");
    if (!now || plan_.fault != TransferFault::flip_read) return inner_->read(offset, into, passing);
    inner_->read(offset, into, nullptr);
    into[plan_.place] ^= std::byte{1};
    tell(passing, into.size());
  }

  void write(Bytes offset, std::span<const std::byte> from, io::Passing* passing) override {
    plan_.before();
    if (++writes_ != plan_.nth) return inner_->write(offset, from, passing);
    switch (plan_.fault) {
      case TransferFault::fail_write:
        throw DeviceError("cannot be written at byte " + std::to_string(offset) +
                          " (No space left on device)");
      case TransferFault::tear_write:
        return keep(offset + plan_.place, from.size() - plan_.place,
                    [&] { inner_->write(offset, from, passing); });
      case TransferFault::drop_write:
        return keep(offset, from.size(), [&] { inner_->write(offset, from, passing); });
      case TransferFault::move_write:
        return keep(offset, plan_.place, [&] {
          inner_->write(offset, from, passing);
          inner_->write(offset + plan_.place, from, nullptr);
        });
      case TransferFault::flip_write:
        inner_->write(offset, from, passing);
        return flip(offset + plan_.place);
      default:
        return inner_->write(offset, from, passing);
    }
  }

  [[nodiscard]] std::string name() const override { return "faulty " + inner_->name(); }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  struct Block {
    explicit Block(std::size_t bytes)
        : data(static_cast<std::byte*>(std::aligned_alloc(io::direct_block, bytes))),
          all(data.get(), bytes) {}
    std::unique_ptr<std::byte, Free> data;
    std::span<std::byte> all;
  };

  static void tell(io::Passing* passing, std::size_t bytes) {
    for (std::size_t i = 0; passing != nullptr && i * io::transfer_part < bytes; ++i)
      passing->part(i);
  }
  // What was in the file before `change` is there after it.
  template <class Change>
  void keep(Bytes offset, std::size_t bytes, Change&& change) {
    const Block old(bytes);
    inner_->read(offset, old.all, nullptr);
    change();
    inner_->write(offset, old.all, nullptr);
  }
  void flip(Bytes place) {
    const Block block(io::direct_block);
    const Bytes first = place - place % io::direct_block;
    inner_->read(first, block.all, nullptr);
    block.all[place - first] ^= std::byte{1};
    inner_->write(first, block.all, nullptr);
  }

  std::unique_ptr<io::Transfer> inner_;
  FaultPlan plan_;
  int reads_ = 0, writes_ = 0;
};

}  // namespace sherd::test
