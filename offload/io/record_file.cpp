#include "sherd/io/record_file.hpp"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "io/record_header.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/checksum.hpp"

namespace sherd::io {

/// What is known of a record without its file.
struct LastWrite {
  Bytes payload = 0;
  std::uint64_t generation = 0;
  std::uint32_t checksum = 0;
};

namespace {

/// Sums each part when it passes, so that this costs no time of its own; a record's checksum is the
/// sum of those sums. The header of a write is made when its part, the last one, goes.
class Sums final : public Passing {
 public:
  Sums(std::span<std::byte> record, std::span<std::uint32_t> parts, RecordHeader* header)
      : record_(record), parts_(parts), header_(header) {}

  void part(std::size_t index) noexcept override {
    const std::size_t first = index * transfer_part;
    const std::size_t skipped = index == 0 ? direct_block : 0;
    const std::size_t bytes = std::min(transfer_part, record_.size() - first);
    parts_[index] = crc32c(record_.subspan(first + skipped, bytes - skipped));
    if (index != 0 || header_ == nullptr) return;
    header_->checksum = all();
    put_header(*header_, record_.first<direct_block>());
  }
  [[nodiscard]] std::uint32_t all() const { return crc32c(std::as_bytes(parts_)); }

 private:
  std::span<std::byte> record_;
  std::span<std::uint32_t> parts_;
  RecordHeader* header_;
};

std::string described(std::string_view what, Bytes payload, Bytes offset) {
  return std::string(what) + ", record of " + std::to_string(payload) + " bytes at byte " +
         std::to_string(offset);
}

// Empty when the record is what was written last; `found` is the sum of what was read.
std::string problem_of(std::span<std::byte> record, const LastWrite& last, Bytes offset,
                       std::uint32_t found) {
  const std::optional<RecordHeader> header = header_of(record.first<direct_block>());
  if (!header) return "its header is damaged or was never written";
  if (header->offset != offset)
    return "it is the record of byte " + std::to_string(header->offset) +
           ", written to a wrong place";
  if (header->generation != last.generation)
    return "it is write " + std::to_string(header->generation) + " of this record, not the last, " +
           std::to_string(last.generation) + ": a write was lost";
  if (header->checksum != found) return "its content does not fit its checksum: torn or altered";
  if (header->payload != last.payload || header->checksum != last.checksum)
    return "it is not what was written";
  return "";
}

}  // namespace

struct RecordFile::Written {
  std::unordered_map<Bytes, LastWrite> last;
  std::vector<std::uint32_t> sums;  // of the parts of one record
};

RecordFile::RecordFile(std::unique_ptr<Transfer> transfer, std::string path)
    : transfer_(std::move(transfer)),
      path_(std::move(path)),
      written_(std::make_unique<Written>()) {}

RecordFile::~RecordFile() = default;

void RecordFile::write(Bytes offset, std::span<std::byte> record, Bytes payload,
                       std::string_view what) {
  expects(record.size() == record_bytes(payload), "record_file: got memory of another size");
  LastWrite& last = written_->last[offset];
  const std::size_t parts = ceil_div(record.size(), transfer_part);
  if (written_->sums.size() < parts) written_->sums.resize(parts);
  std::ranges::fill(record.subspan(direct_block + payload), std::byte{0});
  last.payload = payload;
  RecordHeader header{.offset = offset, .payload = payload, .generation = ++last.generation};
  Sums sums(record, std::span(written_->sums).first(parts), &header);
  try {
    transfer_->write(offset, record, &sums);
  } catch (const DeviceError& error) {
    throw DeviceError(path_ + ": " + described(what, payload, offset) + ": " + error.what());
  }
  last.checksum = header.checksum;
}

void RecordFile::read(Bytes offset, std::span<std::byte> record, Bytes payload,
                      std::string_view what) {
  expects(record.size() == record_bytes(payload), "record_file: got memory of another size");
  const auto found = written_->last.find(offset);
  expects(found != written_->last.end() && found->second.payload == payload,
          "record_file: got a read of what was not written, need a write first");
  const std::size_t parts = ceil_div(record.size(), transfer_part);
  Sums sums(record, std::span(written_->sums).first(parts), nullptr);
  try {
    transfer_->read(offset, record, &sums);
  } catch (const DeviceError& error) {
    throw DeviceError(path_ + ": " + described(what, payload, offset) + ": " + error.what());
  }
  const std::string problem = problem_of(record, found->second, offset, sums.all());
  if (!problem.empty())
    throw DataError(path_ + ": " + described(what, payload, offset) + ": " + problem);
}

}  // namespace sherd::io
