#include <gdcmDataElement.h>
#include <gdcmJPEG2000Codec.h>
#include <gdcmJPEGCodec.h>
#include <gdcmJPEGLSCodec.h>
#include <gdcmSequenceOfFragments.h>
#include <gdcmTrace.h>

#include <mutex>

#include "plait/core/error.h"
#include "plait/data/volume/codec.h"

namespace plait::data {
namespace {

/// GDCM prints to standard error unless told otherwise.
void silence_gdcm() {
  static std::once_flag once;
  std::call_once(once, [] {
    gdcm::Trace::DebugOff();
    gdcm::Trace::WarningOff();
    gdcm::Trace::ErrorOff();
  });
}

template <class Codec>
bool run(Codec& codec, const CompressedFrame& frame, gdcm::DataElement& out) {
  unsigned int size[3] = {static_cast<unsigned int>(frame.width),
                          static_cast<unsigned int>(frame.height), 1};
  auto samples = static_cast<unsigned short>(frame.samples);
  auto bits = static_cast<unsigned short>(frame.precision);
  // The allocated bits choose the JPEG library; the one for 16 bits prints that it cannot do 12.
  bool lossy_12 = frame.codec == DicomCodec::kJpeg && !frame.lossless && bits == 12;
  gdcm::PixelFormat format(samples,
                           lossy_12    ? 12
                           : bits <= 8 ? 8
                                       : 16,
                           bits, static_cast<unsigned short>(bits - 1), frame.is_signed ? 1 : 0);
  codec.SetNumberOfDimensions(2);
  codec.SetDimensions(size);
  codec.SetPlanarConfiguration(0);
  codec.SetNeedByteSwap(false);
  codec.SetNeedOverlayCleanup(false);
  codec.SetPhotometricInterpretation(samples == 1 ? gdcm::PhotometricInterpretation::MONOCHROME2
                                     : frame.luma_chroma ? gdcm::PhotometricInterpretation::YBR_FULL
                                                         : gdcm::PhotometricInterpretation::RGB);
  // Last: the JPEG codec hands everything above on to its inner codec here.
  codec.SetPixelFormat(format);
  std::string bytes(frame.bytes);
  // CharLS 2.4 counts to 2^31 behind the last byte of a cut stream; at an end mark it stops.
  if (frame.codec == DicomCodec::kJpegLs) bytes += "\xFF\xD9";
  // GDCM asserts that libjpeg never runs out of bytes; a damaged segment may swallow 65,535.
  if (frame.codec == DicomCodec::kJpeg) {
    for (int i = 0; i < 33000; ++i) bytes += "\xFF\xD9";
  }
  if (bytes.size() % 2 == 1) bytes += '\0';
  gdcm::Fragment fragment;
  fragment.SetByteValue(bytes.data(), static_cast<uint32_t>(bytes.size()));
  gdcm::SmartPointer<gdcm::SequenceOfFragments> fragments = new gdcm::SequenceOfFragments;
  fragments->AddFragment(fragment);
  gdcm::DataElement in(gdcm::Tag(0x7fe0, 0x0010), 0, gdcm::VR::OB);
  in.SetValue(*fragments);
  return codec.Decode(in, out);
}

}  // namespace

bool dicom_codecs_available() { return true; }

std::vector<uint8_t> decode_compressed(const CompressedFrame& frame, const std::string& name) {
  silence_gdcm();
  gdcm::DataElement out;
  bool decoded = false;
  try {
    if (frame.codec == DicomCodec::kJpeg) {
      gdcm::JPEGCodec codec;
      codec.SetLossless(frame.lossless);
      decoded = run(codec, frame, out);
    } else if (frame.codec == DicomCodec::kJpegLs) {
      gdcm::JPEGLSCodec codec;
      decoded = run(codec, frame, out);
    } else {
      gdcm::JPEG2000Codec codec;
      decoded = run(codec, frame, out);
    }
  } catch (const std::exception&) {
    // GDCM's and CharLS's messages speak of their own sources; ours below says what matters.
    decoded = false;
  }
  const gdcm::ByteValue* value = decoded ? out.GetByteValue() : nullptr;
  size_t wanted = static_cast<size_t>(frame.width) * static_cast<size_t>(frame.height) *
                  static_cast<size_t>(frame.samples) * (frame.precision <= 8 ? 1 : 2);
  // GDCM pads odd lengths by a byte.
  if (!value || value->GetLength() < wanted || value->GetLength() > wanted + 1) {
    fail(ErrorCode::kCorruptData, "dicom",
         name + ": expected whole compressed pixels, got damaged or truncated data");
  }
  const auto* data = reinterpret_cast<const uint8_t*>(value->GetPointer());
  return {data, data + wanted};
}

}  // namespace plait::data
