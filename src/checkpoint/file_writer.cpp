#include "sherd/checkpoint/file_writer.hpp"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "checkpoint/piece_sums.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/checksum.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::checkpoint {
namespace {

constexpr auto slice = std::chrono::milliseconds(20);  // how soon an abort is seen
constexpr auto longest_silence = std::chrono::minutes(30);
constexpr Bytes most_at_once = 4 * mib;
constexpr char unfinished[] = ": the run ended before it was written";

}  // namespace

Bytes FileImage::bytes() const {
  Bytes sum = 0;
  for (const Piece& piece : pieces) sum += packed_bytes(piece.type, piece.count);
  return sum;
}

FileWriter::FileWriter(io::Storage& storage, std::span<std::byte> ring, const FileImage& image)
    : storage_(storage),
      ring_(ring),
      image_(image),
      size_(image.bytes()),
      padded_(round_up(size_, io::direct_block)) {
  expects(ring.size() >= padded_ || ring.size() % block_bytes == 0,
          "FileWriter: got a ring that is less than the file and not a whole number of MiB");
  checker_ = std::thread([this] { guarded([this] { check_loop(); }); });
  writer_ = std::thread([this] { guarded([this] { write_loop(); }); });
  pthread_setname_np(checker_.native_handle(), "save check");
  pthread_setname_np(writer_.native_handle(), "save write");
}

FileWriter::~FileWriter() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  news_.notify_all();
  checker_.join();
  writer_.join();
}

void FileWriter::start(const std::string& folder, Settled settled) {
  {
    const std::scoped_lock lock(mutex_);
    expects(progress() != Progress::writing, "FileWriter: a file is under way");
    folder_ = folder;
    filled_ = checked_ = written_ = 0;
    problem_.clear();
    done_ = 0;
    settled_ = std::move(settled);
    ++round_;
    progress_.store(Progress::writing, std::memory_order_release);
  }
  if (size_ == 0) filled(0);
  news_.notify_all();
}

void FileWriter::await_room(Bytes end, const AbortWord& abort) {
  if (end == size_) end = padded_;  // what fills up the last block goes through the ring too
  std::unique_lock lock(mutex_);
  const auto there = [&] {
    // What failed lets go of the ring first.
    return done_ == 2 || end <= std::min(checked_, written_) + ring_.size();
  };
  auto late = std::chrono::steady_clock::now() + longest_silence;
  Bytes seen = written_;
  while (!news_.wait_for(lock, slice, there)) {
    abort.poll();
    const auto now = std::chrono::steady_clock::now();
    if (written_ != seen) late = now + longest_silence;
    seen = written_;
    if (now > late) throw DeviceError(folder_ + ": nothing was written for half an hour");
  }
}

void FileWriter::filled(Bytes end) {
  {
    const std::scoped_lock lock(mutex_);
    filled_ = end;
    if (end == size_ && padded_ > size_) {
      std::memset(ring_.data() + size_ % ring_.size(), 0, padded_ - size_);
      filled_ = padded_;
    }
  }
  news_.notify_all();
}

Contents FileWriter::contents() const {
  const std::scoped_lock lock(mutex_);
  Contents part;
  part.files.push_back({image_.name, padded_, sums_});
  Bytes offset = 0;
  std::vector<Tensor> tensors(image_.names.size());
  for (std::size_t i = 0; i < tensors.size(); ++i)
    tensors[i] = {image_.names[i], image_.shapes[i], {}};
  for (std::size_t i = 0; i < image_.pieces.size(); ++i) {
    const Piece& piece = image_.pieces[i];
    std::vector<TensorState>& all = tensors[piece.tensor].states;
    auto into =
        std::ranges::find_if(all, [&](const TensorState& one) { return one.state == piece.state; });
    if (into == all.end()) into = all.insert(all.end(), {piece.state, piece.type, {}, {}});
    add(into->digest, digests_[i]);
    into->extents.push_back({0, offset, piece.first, piece.count});
    offset += packed_bytes(piece.type, piece.count);
  }
  std::erase_if(tensors, [](const Tensor& tensor) { return tensor.states.empty(); });
  for (Tensor& tensor : tensors) {
    std::ranges::sort(tensor.states, {}, &TensorState::state);
    for (TensorState& state : tensor.states) std::ranges::sort(state.extents, {}, &Extent::first);
  }
  std::ranges::sort(tensors, {}, &Tensor::name);
  part.tensors = std::move(tensors);
  return part;
}

std::string FileWriter::problem() const {
  const std::scoped_lock lock(mutex_);
  return problem_;
}

// False when this file has failed or the writer ends.
bool FileWriter::await(Bytes end) {
  std::unique_lock lock(mutex_);
  news_.wait(lock, [&] { return ending_ || filled_ >= end || !problem_.empty(); });
  if (ending_ && problem_.empty()) problem_ = folder_ + unfinished;
  return !ending_ && problem_.empty();
}

template <class Body>
void FileWriter::guarded(Body&& body) {
  for (std::uint64_t seen = 0;;) {
    bool ends = false;
    {
      std::unique_lock lock(mutex_);
      news_.wait(lock, [&] { return ending_ || round_ != seen; });
      if (round_ == seen) return;
      seen = round_;
      ends = ending_;
    }
    std::string problem;
    try {
      if (ends) throw DataError(folder_ + unfinished);
      body();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    settle(problem);
  }
}

// The file is done when both threads are; the first problem is the one that is told.
void FileWriter::settle(const std::string& problem) {
  bool last = false, good = false;
  {
    const std::scoped_lock lock(mutex_);
    if (problem_.empty()) problem_ = problem;
    last = ++done_ == 2;
    good = problem_.empty();
  }
  news_.notify_all();  // what failed shall not be waited for
  if (!last) return;
  if (settled_) settled_(*this);
  progress_.store(good ? Progress::synced : Progress::failed, std::memory_order_release);
}

void FileWriter::check_loop() {
  std::vector<std::uint32_t> sums;
  PieceSums pieces(image_.pieces, ring_);
  for (Bytes at = 0; at < padded_; at = std::min(at + block_bytes, padded_)) {
    const Bytes end = std::min(at + block_bytes, padded_);
    if (!await(end)) return;
    sums.push_back(io::crc32c(ring_.subspan(at % ring_.size(), end - at)));
    const Bytes done = pieces.advance(std::min(end, size_));
    const std::scoped_lock lock(mutex_);
    checked_ = done;
    news_.notify_all();
  }
  const std::scoped_lock lock(mutex_);
  sums_ = std::move(sums);
  digests_ = pieces.sums();
}

void FileWriter::write_loop() {
  const int made = storage_.make_folder(folder_);
  if (made < 0 && made != -EEXIST) io::throw_stored(folder_, "mkdir", made);
  io::Stored file = io::create_stored(storage_, folder_ + "/" + image_.name, io::Cache::past);
  file.reserve(padded_);
  for (Bytes at = 0; at < padded_;) {
    if (!await(std::min(at + block_bytes, padded_))) return;
    Bytes end = 0;
    {
      const std::scoped_lock lock(mutex_);
      const Bytes whole = filled_ == padded_ ? padded_ : filled_ / block_bytes * block_bytes;
      end = std::min({whole, at + most_at_once, at + ring_.size() - at % ring_.size()});
    }
    file.write(at, ring_.subspan(at % ring_.size(), end - at));
    if (std::atomic<std::uint64_t>* const counter = counter_) counter->fetch_add(end - at);
    at = end;
    const std::scoped_lock lock(mutex_);
    written_ = at;
    news_.notify_all();
  }
  file.sync();
  file.close();
}

}  // namespace sherd::checkpoint
