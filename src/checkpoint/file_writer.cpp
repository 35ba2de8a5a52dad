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
  threads_.emplace_back([this] { guarded([this] { check_loop(); }); });
  pthread_setname_np(threads_.back().native_handle(), "save check");
  for (std::size_t writer = 0; writer < writers; ++writer) {
    threads_.emplace_back([this, writer] { guarded([this, writer] { write_loop(writer); }); });
    pthread_setname_np(threads_.back().native_handle(), "save write");
  }
}

FileWriter::~FileWriter() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  news_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void FileWriter::start(const std::string& folder, Settled settled) {
  {
    const std::scoped_lock lock(mutex_);
    expects(progress() != Progress::writing, "FileWriter: a file is under way");
    folder_ = folder;
    filled_ = checked_ = taken_ = written_ = 0;
    parts_ = {};
    opened_ = ended_ = false;
    problem_.clear();
    done_ = 0;
    settled_ = std::move(settled);
    ++round_;
    progress_.store(Progress::writing, std::memory_order_release);
  }
  if (size_ == 0) filled(0);
  news_.notify_all();
}

bool FileWriter::room(Bytes end) const {
  if (end == size_) end = padded_;  // what fills up the last block goes through the ring too
  // What failed lets go of the ring first.
  return done_ == threads_.size() || end <= std::min(checked_, written_) + ring_.size();
}

bool FileWriter::has_room(Bytes end) const {
  const std::scoped_lock lock(mutex_);
  return room(end);
}

void FileWriter::await_room(Bytes end, const AbortWord& abort) {
  std::unique_lock lock(mutex_);
  auto late = std::chrono::steady_clock::now() + longest_silence;
  Bytes seen = written_;
  while (!news_.wait_for(lock, slice, [&] { return room(end); })) {
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

// The file is done when all threads are; the first problem is the one that is told.
void FileWriter::settle(const std::string& problem) {
  bool last = false, good = false;
  {
    const std::scoped_lock lock(mutex_);
    if (problem_.empty()) problem_ = problem;
    last = ++done_ == threads_.size();
    good = problem_.empty();
  }
  news_.notify_all();  // what failed shall not be waited for
  if (!last) return;
  file_ = {};
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

void FileWriter::open_file(std::size_t writer) {
  if (writer == 0) {
    const int made = storage_.make_folder(folder_);
    if (made < 0 && made != -EEXIST) io::throw_stored(folder_, "mkdir", made);
    file_ = io::create_stored(storage_, folder_ + "/" + image_.name, io::Cache::past);
    file_.reserve(padded_);
  }
  std::unique_lock lock(mutex_);
  opened_ = opened_ || writer == 0;
  news_.notify_all();
  news_.wait(lock, [&] { return opened_ || ending_ || !problem_.empty(); });
}

// Gives back what the writer has written. What is filled next is its own then; false at the end of
// the file or when that comes to nothing.
bool FileWriter::take(std::size_t writer) {
  Part& part = parts_[writer];
  std::unique_lock lock(mutex_);
  part = {};
  written_ = taken_;  // without a gap
  for (const Part& other : parts_) {
    if (other.first < other.end) written_ = std::min(written_, other.first);
  }
  news_.notify_all();
  news_.wait(lock, [&] {
    return ending_ || !problem_.empty() || filled_ >= std::min(taken_ + block_bytes, padded_);
  });
  if (ending_ && problem_.empty() && taken_ < padded_) problem_ = folder_ + unfinished;
  if (!problem_.empty() || taken_ == padded_) return false;
  const Bytes whole = filled_ == padded_ ? padded_ : filled_ / block_bytes * block_bytes;
  const Bytes share = std::max(ring_.size() / 4 / block_bytes * block_bytes, block_bytes);
  const Bytes round = ring_.size() - taken_ % ring_.size();
  part = {taken_, std::min({whole, taken_ + std::min(most_at_once, share), taken_ + round})};
  taken_ = part.end;
  return true;
}

// True for the one writer that is to end the file: all of it is written.
bool FileWriter::ends() {
  const std::scoped_lock lock(mutex_);
  return problem_.empty() && written_ == padded_ && !std::exchange(ended_, true);
}

void FileWriter::write_loop(std::size_t writer) {
  open_file(writer);
  while (take(writer)) {
    const auto [first, end] = parts_[writer];
    file_.write(first, ring_.subspan(first % ring_.size(), end - first));
    if (std::atomic<std::uint64_t>* const counter = counter_) counter->fetch_add(end - first);
  }
  if (!ends()) return;
  file_.sync();
  file_.close();
}

}  // namespace sherd::checkpoint
