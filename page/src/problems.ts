// What went wrong, as a sentence that says what to do.

export interface ProblemDetails {
  status: number;
  reason: string;
  detail: string;
  field?: string;
}

const ADVICE: Record<string, string> = {
  NO_FACE: "No face was found. Choose a photograph in which a face is larger and well lit.",
  SEVERAL_FACES: "There are several faces. Choose a photograph of one person.",
  LOW_QUALITY: "The face is too small, blurred, covered or turned away. Choose a sharper one that looks at the camera.",
  FACES_DIFFER: "The photographs do not show one person. Remove the one that does not belong.",
  IMAGE_UNDECODABLE: "The file cannot be read as a picture. Save it again as JPEG, PNG or WebP.",
  IMAGE_TOO_LARGE: "The picture is too large. Send a smaller one, or raise the service's limit.",
  MEDIA_TYPE_UNSUPPORTED: "Photographs are JPEG, PNG or WebP. Save it as one of these.",
  BITSTREAM_CORRUPT: "The bitstream is damaged, or another codec model made it. Encode the photograph again.",
  BITSTREAM_VERSION: "A later version made this bitstream. Update the service.",
  MODEL_MISMATCH: "The models have changed since. Enrol the subject again.",
  GROUP_ABSENT: "What this needs did not travel. Switch the group on.",
  SUBJECT_UNKNOWN: "There is no such subject any more. Enrol it again.",
  KEY_INVALID: "The service asks for an API key. Enter yours at the top of the page.",
  SCOPE_MISSING: "The key does not allow this. Use one with the scope that the message names.",
  OVERLOADED: "The service has too much to do. Try again in a moment.",
  RATE_LIMITED: "That was tried too often. Wait a minute, then try again.",
  MODEL_LOADING: "The models are being loaded. This goes on by itself.",
  BACKEND_AWAY: "A part of the service cannot be reached. It is tried again by itself; see System.",
  STORE_FULL: "The store is full. Erase subjects, or give Redis more memory.",
  DEADLINE_EXCEEDED: "It took too long. Try again, or with a smaller picture.",
  INTERNAL: "That is a defect of the service. Please report it with the time at which it happened.",
  UNREACHABLE: "The gateway cannot be reached. Is `semface up` running? The page goes on by itself when it is back.",
};

export class Problem extends Error {
  readonly details: ProblemDetails;

  constructor(details: ProblemDetails) {
    super(sentence(details));
    this.name = "Problem";
    this.details = details;
  }
}

/** What to do, and the service's own words where they say more. */
export function sentence(details: ProblemDetails): string {
  const advice = ADVICE[details.reason];
  const told = details.detail.replace(/^./, (first) => first.toUpperCase()).replace(/[.!]?$/, ".");
  if (!advice) return told;
  return ["FIELD_INVALID", "SCOPE_MISSING"].includes(details.reason) ? `${told} ${advice}` : advice;
}

export function unreachable(): Problem {
  return new Problem({ status: 0, reason: "UNREACHABLE", detail: "the gateway cannot be reached" });
}

/** The words for anything that was thrown. */
export function explain(error: unknown): string {
  if (error instanceof Problem) return error.message;
  if (error instanceof Error && error.name === "NotAllowedError")
    return "The camera was not allowed. Allow it in the browser's address bar, then start again.";
  if (error instanceof Error && error.name === "NotFoundError")
    return "No camera was found. Connect one, or use the moving portrait.";
  if (error instanceof Error && error.name === "NotReadableError")
    return "The camera is in use by another program. Close that, then start again.";
  return error instanceof Error ? `${error.message}.`.replace(/\.\.$/, ".") : "Something went wrong. Reload the page.";
}
