#pragma once
// Digests of pieces while their bytes pass, in order.
#include <algorithm>
#include <vector>

#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/shard/layout.hpp"

namespace sherd::checkpoint {

class PieceSums {
 public:
  PieceSums(const std::vector<Piece>& pieces, std::span<std::byte> ring)
      : pieces_(pieces), ring_(ring), sums_(pieces.size()) {}

  /// Takes whole quanta that end at `end` or before; returns where the first one left begins.
  Bytes advance(Bytes end) {
    while (piece_ < pieces_.size()) {
      const Piece& piece = pieces_[piece_];
      const std::uint64_t left = piece.count - done_;
      std::uint64_t now = std::min(left, fitting(piece, left, end));
      if (left == 0) {
        ++piece_;
        done_ = 0;
        continue;
      }
      if (now == 0) break;
      take(piece, now);
    }
    return at_;
  }
  [[nodiscard]] const std::vector<Digest>& sums() const { return sums_; }

 private:
  // Elements from the cursor on, whole quanta or all that is left, that end before `end`.
  [[nodiscard]] std::uint64_t fitting(const Piece& piece, std::uint64_t left, Bytes end) const {
    if (end <= at_) return 0;
    if (packed_bytes(piece.type, left) <= end - at_) return left;
    const Bytes quantum = packed_bytes(piece.type, shard::quantum);
    return (end - at_) / quantum * shard::quantum;
  }
  void take(const Piece& piece, std::uint64_t count) {
    const Bytes in_ring = at_ % ring_.size(), room = ring_.size() - in_ring;
    const Bytes quantum = packed_bytes(piece.type, shard::quantum);
    const std::byte* bytes = ring_.data() + in_ring;
    if (packed_bytes(piece.type, count) > room) {
      count = std::min(count, std::max<std::uint64_t>(room / quantum, 1) * shard::quantum);
      if (room < quantum) bytes = joined(in_ring, packed_bytes(piece.type, count));
    }
    const std::uint64_t first = (piece.first + done_) / shard::quantum;
    add(sums_[piece_], digest_of(piece.type, first, count, bytes));
    done_ += count;
    at_ += packed_bytes(piece.type, count);
  }
  // A quantum that wraps round the ring's end.
  const std::byte* joined(Bytes in_ring, Bytes size) {
    space_.resize(size);
    const Bytes head = std::min<Bytes>(size, ring_.size() - in_ring);
    std::copy_n(ring_.begin() + static_cast<std::ptrdiff_t>(in_ring), head, space_.begin());
    std::copy_n(ring_.begin(), size - head, space_.begin() + static_cast<std::ptrdiff_t>(head));
    return space_.data();
  }

  const std::vector<Piece>& pieces_;
  std::span<std::byte> ring_;
  std::vector<Digest> sums_;
  std::vector<std::byte> space_;
  std::size_t piece_ = 0;
  std::uint64_t done_ = 0;  // elements of the piece
  Bytes at_ = 0;            // of the file
};

}  // namespace sherd::checkpoint
